"""Headless Chromium through the DevTools protocol over a pipe: no further package is needed."""

import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
EXCHANGE = (
    'import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])'
)
SECONDS = 120  # a busy machine takes its time


def find():
    """Return the browser, or skip the test."""
    path = os.environ.get('SSAL3D_TEST_CHROMIUM') or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip('no Chromium here: install the package chromium, or name one in SSAL3D_TEST_CHROMIUM')
    return path


class Browser:
    """One tab of a browser that finds no host.

    Attributes:
        events: What the browser told, as (method, parameters).
    """

    def __init__(self, *flags):
        path, self.events, self._numbers, self._rest = find(), [], itertools.count(1), b''
        self._profile = tempfile.TemporaryDirectory()
        (theirs, self._out), (self._in, answers) = os.pipe(), os.pipe()
        command = [
            *(path, '--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', '--no-first-run'),
            *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
            *(f'--user-data-dir={self._profile.name}', '--host-resolver-rules=MAP * ~NOTFOUND', *flags, 'about:blank'),
        ]
        # The browser reads commands from descriptor 3 and writes answers to 4.
        exchange = [sys.executable, '-c', EXCHANGE, str(theirs), str(answers), *command]
        quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
        self._process = subprocess.Popen(exchange, pass_fds=(theirs, answers), **quiet)
        os.close(theirs)
        os.close(answers)
        self._session = None
        target = next(t for t in self.call('Target.getTargets')['targetInfos'] if t['type'] == 'page')
        attached = self.call('Target.attachToTarget', targetId=target['targetId'], flatten=True)
        self._session = attached['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(SECONDS)
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def call(self, method, **parameters):
        """Call a method and return its result."""
        number = next(self._numbers)
        message = {'id': number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == number:
                assert 'error' not in answer, (method, answer['error'])
                return answer['result']

    def _read(self):
        end = time.monotonic() + SECONDS
        while b'\0' not in self._rest:
            if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f'the browser said nothing for {SECONDS} s')
            piece = os.read(self._in, 2**16)
            assert piece, 'the browser ended'
            self._rest += piece
        text, _, self._rest = self._rest.partition(b'\0')
        answer = json.loads(text)
        if 'method' in answer:
            self.events.append((answer['method'], answer['params']))
        return answer

    def open(self, path, width, height=900, phone=False):
        """Open a file in a window of a size and wait until it is loaded."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.events.clear()
        self.call('Page.navigate', url=path.as_uri())
        while not any(method == 'Page.loadEventFired' for method, _ in self.events):
            self._read()

    def ask(self, expression):
        """Return the value of an expression of JavaScript."""
        answer = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def wait(self, expression):
        """Wait until an expression is true."""
        end = time.monotonic() + SECONDS
        while not self.ask(expression):
            if time.monotonic() > end:
                raise TimeoutError(expression)
            time.sleep(0.1)

    @property
    def errors(self):
        """Errors and exceptions that the page caused."""
        found = [p['exceptionDetails'] for method, p in self.events if method == 'Runtime.exceptionThrown']
        found += [p for method, p in self.events if method == 'Runtime.consoleAPICalled' and p['type'] == 'error']
        return found + [
            p['entry'] for method, p in self.events if method == 'Log.entryAdded' and p['entry']['level'] == 'error'
        ]

    @property
    def requests(self):
        """Addresses that the page asked for."""
        return [p['request']['url'] for method, p in self.events if method == 'Network.requestWillBeSent']
