import pytest

from ssal3d.active.query.settings import QuerySettings, query_settings
from ssal3d.errors import UserError

CONFIG = {'active_sampler': {'type': 'CALSampler'}, 'query': {'budget': 150, 'unit': 'boxes', 'empty_cost': 1}}


def test_an_entry_changes_single_keys():
    assert query_settings(CONFIG) == QuerySettings(150, empty_cost=1)
    entry = {'query': {'budget': 50, 'cost_score': {'Car': 0.5}}}
    assert query_settings(CONFIG, entry) == QuerySettings(50, empty_cost=1, cost_score={'Car': 0.5})
    assert query_settings({}, {'query': {'budget': 3}}) == QuerySettings(3)


@pytest.mark.parametrize(
    ('config', 'entry', 'message'),
    [
        ({'budget': 9}, None, r'^budget: this is a setting of the query now; write query=dict\(budget=9\)'),
        ({'stop_rule': 'x'}, None, r"^stop_rule: .* query=dict\(stop_rule='x'\)"),
        (
            {'active_sampler': {'dontcare': 'paper'}},
            None,
            r"^active_sampler.dontcare: .* query=dict\(dontcare='paper'\)",
        ),
        ({}, {'budget': 5}, r'^rounds\[0\].budget: .* write rounds\[0\].query=dict\(budget=5\)'),
        ({}, {'sampler': {'dontcare': 'frame'}}, r'^rounds\[0\].sampler.dontcare: .* write query=dict'),
        ({'query': {'budgt': 5}}, None, "unknown key of query 'budgt'.*did you mean 'budget'"),
        ({}, {'query': {'unti': 5}}, r"unknown key of rounds\[0\].query 'unti'"),
        ({'query': 150}, None, 'query: found 150, expected a dictionary'),
        ({'query': {}}, None, 'budget is missing; add query=dict'),
        ({'query': {'budget': 1, 'dontcare': 'papr'}}, None, "value of dontcare 'papr'.*did you mean 'paper'"),
        ({'query': {'budget': 1, 'cost_score': 'auto'}}, None, "value of cost_score 'auto'"),
        ({'query': {'budget': 1, 'cost_score': {'Car': 3}}}, None, "cost_score, class 'Car': found 3"),
        ({'query': {'budget': 1.5, 'unit': 'frames'}}, None, 'budget: found 1.5, expected a whole number of frames'),
    ],
)
def test_mistakes_and_old_places_are_one_line(config, entry, message):
    with pytest.raises(UserError, match=message):
        query_settings(config, entry, 'rounds[0]' if entry else '')


def test_fractions_are_fine_where_the_unit_has_them():
    assert QuerySettings(1.5, unit={'frame': 1, 'box': 0.25}).pricing.plural == 'units'
    settings = QuerySettings(1, unit={'type': 'NotInstalledHere'})  # a query that was made elsewhere can be read
    with pytest.raises(UserError, match="unknown unit of a budget 'NotInstalledHere'"):
        settings.check()
