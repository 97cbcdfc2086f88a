"""A browser opens the page without an error and without asking anybody, on a desktop and on a phone."""

import pytest

from ssal3d.report import write_report
from tests.helpers.browser import Browser, find
from tests.helpers.experiment_folder import Data, write_experiment

SOFTWARE_3D = ('--enable-unsafe-swiftshader', '--use-angle=swiftshader')
EVIL = '<img src=x onerror="document.title=1">'
SIZES = pytest.mark.parametrize(('width', 'phone'), [(1280, False), (360, True)], ids=['desktop', 'phone'])


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    find()
    data = Data(tmp_path_factory.mktemp('data'), classes=('Car', EVIL, 'Cyclist'))
    folder = write_experiment(tmp_path_factory.mktemp('run'), data)
    return write_report([folder], tmp_path_factory.mktemp('out') / 'report.html')


@pytest.fixture(scope='module')
def browser(page):
    with Browser(*SOFTWARE_3D) as browser:
        yield browser


@SIZES
def test_the_page_opens_without_fault_and_asks_nobody(browser, page, width, phone):
    browser.open(page, width, phone=phone)
    browser.wait('Boolean(document.querySelector("#viewer canvas, #viewer p.hint"))')
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith(('file:', 'data:'))] == []
    assert browser.ask('document.title') == 'small: ssal3d report'
    overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
    assert browser.ask(overflow) == 0
    broken = '[...document.images].filter(image => image.complete && !image.naturalWidth).length'
    browser.ask('document.querySelectorAll("img").forEach(image => image.loading = "eager")')
    browser.wait('[...document.images].every(image => image.complete)')
    assert browser.ask(broken) == 0
    for element in ('#summary p', '#curve img', '#labels td', '#round_1-query article img', '#trust img', '#bank td'):
        assert browser.ask(f'document.querySelectorAll("{element}").length') > 0, element


def test_the_scene_can_be_turned_with_the_keyboard_and_shows_another_frame(browser, page):
    browser.open(page, 1000)
    if not browser.ask('Boolean(document.querySelector("#viewer canvas"))'):
        pytest.skip('this Chromium has no WebGL, not even in software')
    picture = (
        'new Promise(done => requestAnimationFrame(() => done(document.querySelector("#viewer canvas").toDataURL())))'
    )
    browser.ask('document.querySelector("#viewer canvas").scrollIntoView()')
    browser.ask(picture)
    before = browser.ask(picture)
    browser.ask('document.querySelector("#viewer canvas").focus()')
    browser.call('Input.dispatchKeyEvent', type='keyDown', key='ArrowLeft')
    browser.wait(f'({picture}).then(now => now !== {before!r})')
    points = browser.ask('document.querySelector("#viewer canvas").dataset.points')
    assert int(points) > 100
    browser.ask('{ const s = document.querySelector("#viewer select"); s.value = 1; s.onchange() }')
    assert browser.ask('document.querySelectorAll("#viewer .layers label").length') == 3
    assert browser.errors == []


def test_without_webgl_the_pictures_remain_and_nothing_fails(page):
    with Browser('--disable-3d-apis') as browser:
        browser.open(page, 1000)
        browser.wait('Boolean(document.querySelector("#viewer p.hint"))')
        assert 'no WebGL' in browser.ask('document.querySelector("#viewer").textContent')
        assert browser.ask('document.querySelectorAll("article img").length') > 0
        assert browser.errors == []


def test_without_javascript_the_page_says_that_the_pictures_remain(page):
    with Browser() as browser:
        browser.call('Emulation.setScriptExecutionDisabled', value=True)
        browser.open(page, 1000)
        shown = browser.ask('document.querySelector("#viewer").innerText')
        assert 'pictures show the same frames' in shown
