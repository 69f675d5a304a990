"""The tables: the metrics' own numbers, the best of each column, and names escaped."""
import re

import pytest
from report_runs import cell

from mmpose_surgical.visualization.report.comparison import compare
from mmpose_surgical.visualization.report.runs import read_runs
from mmpose_surgical.visualization.report.tables import all_tables
from mmpose_surgical.visualization.report.texts import escape_latex, escape_markdown, latex, markdown


def tables_of(*folders):
    comparison, = compare(read_runs(folders))
    return {table.key: table for table in all_tables(comparison)}


def texts(row):
    return [c.text for c in row.cells]


def best(row):
    return [c.best for c in row.cells]


def test_numbers_are_those_of_the_metrics_in_the_order_of_the_paper(make_run):
    tip = cell(6, 2, 4, l2=7.123)  # P 75.0, R 60.0, F1 66.7
    table = tables_of(make_run(tip=tip, actions=dict(dissect={}, none={}, clip=dict(tip=cell(1, 1, 0)))))['methods']
    assert [section.title for section in table.sections] == ['clip', 'dissect', 'overall']
    assert texts(table.sections[-1].rows[0]) == ['75.0', '60.0', '66.7', '7.12', '50.0', '50.0', '50.0', '5.00']
    assert texts(table.sections[0].rows[0])[:3] == ['50.0', '100.0', '66.7']
    assert 'toy (synthetic), split test' in table.caption and '15 px on a canvas of 640x480' in table.caption


def test_the_best_of_each_column_is_marked_with_all_its_equals(make_run):
    # Recall and F1 of the first two differ beyond what is printed.
    a = make_run('a', tip=cell(10000, 5000, 5000, l2=4.))
    b = make_run('b', tip=cell(10000, 5000, 5001, l2=6.))
    c = make_run('c', tip=cell(1000, 400, 1000, l2=4.))
    rows = tables_of(a, b, c)['methods'].sections[-1].rows
    assert [best(row)[:4] for row in rows] == [[False, True, True, True], [False, True, True, False],
                                               [True, False, False, True]]
    assert texts(rows[0])[:3] == texts(rows[1])[:3] == ['66.7', '66.7', '66.7']


def test_a_single_method_has_no_best(make_run):
    table = tables_of(make_run())['methods']
    assert not any(best(row)[0] for section in table.sections for row in section.rows)


def test_tip_and_anchor_compete_apart_in_the_layout_of_table_3(make_run):
    strategies = tables_of(make_run('coarse', tip=cell(9, 1, 1), anchor=cell(2, 8, 8), actions=dict(clip={})),
                           make_run('refine', tip=cell(8, 2, 2), anchor=cell(3, 7, 7), actions=dict(clip={})),
                           make_run('rtmpose', tip=cell(9, 0, 0), actions=dict(clip={})))['strategies']
    rows = strategies.sections[0].rows
    assert [row.heads[::2] for row in rows] == [('coarse', 'tip'), ('coarse', 'anchor'), ('refine', 'tip'),
                                                ('refine', 'anchor')]
    assert strategies.groups == [('clip', 2), ('overall', 4)]
    assert [row.cells[4].text for row in rows] == ['90.0', '20.0', '80.0', '30.0']
    assert [row.cells[4].best for row in rows] == [True, False, False, True]


def test_an_oracle_competes_with_nothing(make_run):
    tables = tables_of(make_run('coarse'), make_run('oracle_box', tip=cell(9, 0, 0)))
    assert [row.heads[0] for row in tables['methods'].sections[0].rows] == ['coarse']
    assert tables['oracles'].sections[0].rows[0].heads[0] == 'oracle_box [oracle]'
    assert not any(best(tables['oracles'].sections[0].rows[0]))


def test_breakdowns_and_measures_show_what_is_there_only(make_run):
    more = dict(by=dict(source=dict(A=dict(tip=cell(3, 1, 1), anchor=cell(1, 1, 1)))), average_precision=dict(tip=0.5))
    tables = tables_of(make_run('coarse', more=more), make_run('refine'))
    assert [s.title for s in tables['by-source'].sections] == ['source: A']
    for name, videos, told in (('b', 1, '1 video'), ('c', 6, '6 videos: intervals may be too narrow'),
                               ('d', 40, '40 videos')):
        known = tables_of(make_run(name, more=more, meta=dict(by_videos=dict(source=dict(A=videos)))))
        assert [s.title for s in known['by-source'].sections] == [f'source: A ({told})']
    assert texts(tables['by-source'].sections[0].rows[0])[2] == '75.0'
    assert texts(tables['by-source'].sections[0].rows[1])[2] == '-'
    assert [c.group for c in tables['measures'].columns] == ['tip']
    assert [texts(row) for row in tables['measures'].sections[0].rows] == [['50.0'], ['-']]
    assert 'measures' not in tables_of(make_run('direct_mask'))


def test_intervals_and_ranges_stand_beside(make_run):
    f1 = tables_of(make_run(seed=0, tip=cell(1, 1, 1)), make_run(seed=1, tip=cell(3, 1, 1)))[
        'methods'].sections[-1].rows[0].cells[2]
    assert (f1.text, f1.beside) == ('62.5', '(50.0–75.0)')
    f1 = tables_of(make_run('refine', tip=cell(3, 1, 1, ci95=dict(f1=[0.2, 0.9]))))[
        'methods'].sections[-1].rows[0].cells[2]
    assert (f1.text, f1.beside) == ('75.0', '[20.0, 90.0]')


# -- texts -------------------------------------------------------------------------------------------------
@pytest.fixture
def odd(make_run):
    """Tables with names that mean something in Markdown and in LaTeX."""
    prior = dict(backend='50%_of|x', fingerprint='p')
    return list(tables_of(make_run('a_b', tip=cell(9, 1, 1), meta=dict(prior=prior, config='a_b&c*d|e.py')),
                          make_run('plain', tip=cell(8, 2, 2))).values())


def test_markdown_rows_have_their_columns_whatever_the_names(odd):
    page = markdown([('odd | title', odd)])
    table = odd[0]
    lines = [line for line in page.split('### ')[1].splitlines() if line.startswith('|')]
    # Unescaped bars alone part cells.
    assert {len(re.findall(r'(?<!\\)\|', line)) for line in lines} == {len(table.heads) + len(table.columns) + 2}
    assert r'a\_b\&c\*d\|e' in page and '**90.0**' in page and '## odd \\| title' in page


def test_latex_rows_have_their_columns_whatever_the_names(odd):
    page = latex([('odd', odd)])
    table = odd[0]
    assert r'a\_b\&c*d\textbar{}e & 50\%\_of\textbar{}x' in page
    rows = [line for line in page.split(r'\end{table*}')[0].splitlines() if 'textbar' in line and 'caption' not in line]
    assert {len(re.findall(r'(?<!\\)&', line)) + 1 for line in rows} == {len(table.heads) + len(table.columns)}
    assert r'\textbf{90.0}' in page and page.count(r'\begin{table*}') == page.count(r'\end{table*}') == len(odd)


def test_escapes():
    assert escape_latex('a\\b~^{}') == r'a\textbackslash{}b\textasciitilde{}\textasciicircum{}\{\}'
    assert escape_markdown('<b> `x`\n[y]') == r'\<b\> \`x\` \[y\]'
