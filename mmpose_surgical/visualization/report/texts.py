"""The tables as Markdown and as LaTeX, names escaped."""
from __future__ import annotations

import re
from collections.abc import Sequence

from mmpose_surgical.visualization.report.tables import Cell, Table

LEGEND = ('Best of a column in bold (equal as printed: all of them). Rates in per cent, L2 in pixels of the canvas '
          'over matched pairs. (least–greatest) over seeds; [95 % interval], of several seeds that of all together, '
          'whose counts are summed')

_MARKDOWN = re.compile(r'([\\`*_{}\[\]<>#|~$&])')
_LATEX = {'\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{', '}': r'\}',
          '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '<': r'\textless{}', '>': r'\textgreater{}',
          '|': r'\textbar{}', '–': '--', '↑': r'$\uparrow$', '↓': r'$\downarrow$'}


def escape_markdown(text: str) -> str:
    """A name or a sentence as it is, in a cell of a table too."""
    return _MARKDOWN.sub(r'\\\1', ' '.join(text.split()))


def escape_latex(text: str) -> str:
    """A name or a sentence as it is."""
    return ''.join(_LATEX.get(character, character) for character in text)


def markdown(parts: Sequence[tuple[str, Sequence[Table]]]) -> str:
    """Tables under the titles of their parts; sections become a first column."""
    lines = ['# Report of finished runs', '', escape_markdown(LEGEND) + '.']
    for title, tables in parts:
        lines += ['', f'## {escape_markdown(title)}']
        for table in tables:
            lines += ['', f'### {escape_markdown(table.title)}', '', escape_markdown(table.caption), '',
                      *markdown_table(table)]
    return '\n'.join(lines) + '\n'


def markdown_table(table: Table) -> list[str]:
    """The lines of a table, without title and caption."""
    sectioned = any(section.title for section in table.sections)
    heads = [*([''] if sectioned else []), *table.heads, *(f'{c.group} {c.heading}' for c in table.columns)]
    text_columns = len(heads) - len(table.columns)
    lines = [_line(map(escape_markdown, heads)), _line(['---'] * text_columns + ['---:'] * len(table.columns))]
    for section in table.sections:
        for row in section.rows:
            names = [*([section.title] if sectioned else []), *row.heads]
            lines.append(_line([*map(escape_markdown, names), *map(_markdown_cell, row.cells)]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _markdown_cell(cell: Cell) -> str:
    text = f'**{cell.text}**' if cell.best else cell.text
    return f'{text} {escape_markdown(cell.beside)}' if cell.beside else text


def latex(parts: Sequence[tuple[str, Sequence[Table]]]) -> str:
    r"""Tables to ``\input`` into a document that loads booktabs and graphicx."""
    lines = ['% \\usepackage{booktabs,graphicx}', '% ' + LEGEND.replace('–', '-') + '.']
    for number, (title, tables) in enumerate(parts, 1):
        lines += ['', '% ' + ' '.join(title.split())]
        for table in tables:
            label = table.key if len(parts) == 1 else f'{table.key}-{number}'
            lines += ['', *_latex_table(table, label)]
    return '\n'.join(lines) + '\n'


def _latex_table(table: Table, label: str) -> list[str]:
    first = len(table.heads) + 1
    spans, rules = [], []
    for group, width in table.groups:
        spans.append(f'\\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}')
        rules.append(f'\\cmidrule(lr){{{first}-{first + width - 1}}}')
        first += width
    columns = first - 1
    lines = ['\\begin{table*}', '\\centering',
             f'\\caption{{{escape_latex(f"{table.title}. {table.caption}")}}}',
             f'\\label{{tab:{re.sub(r"[^A-Za-z0-9-]", "-", label)}}}', '\\resizebox{\\textwidth}{!}{%',
             f'\\begin{{tabular}}{{{"l" * len(table.heads)}{"r" * len(table.columns)}}}', '\\toprule',
             ' & ' * len(table.heads) + ' & '.join(spans) + ' \\\\', ' '.join(rules),
             ' & '.join(map(escape_latex, [*table.heads, *(c.heading for c in table.columns)])) + ' \\\\', '\\midrule']
    for number, section in enumerate(table.sections):
        if section.title:
            lines += ['\\midrule'] * bool(number)
            lines.append(f'\\multicolumn{{{columns}}}{{l}}{{\\textit{{{escape_latex(section.title)}}}}} \\\\')
        lines += [' & '.join([*map(escape_latex, row.heads), *map(_latex_cell, row.cells)]) + ' \\\\'
                  for row in section.rows]
    return [*lines, '\\bottomrule', '\\end{tabular}}', '\\end{table*}']


def _latex_cell(cell: Cell) -> str:
    text = f'\\textbf{{{cell.text}}}' if cell.best else cell.text
    return f'{text} {{\\scriptsize {escape_latex(cell.beside)}}}' if cell.beside else text
