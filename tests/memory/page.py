#!/usr/bin/env python3
"""page.py PAGE KINDS OUTPUT... [--update]

PAGE is docs/memory.md; KINDS what `drover_kinds --list` says; each OUTPUT what drover_memory_tests has printed
on one machine. The table of the page must be the one that follows from them; --update writes it."""
import re
import sys

HEAD = '<!-- made by tests/memory/page.py from here on -->\n'


def read(paths):
    """Kernels; (column, kind) -> fate; cause -> (temporary, hint). A machine that tested wins."""
    kernels, fates, causes = [], {}, {}
    for path in paths:
        for line in open(path, encoding='utf-8', errors='replace'):
            fields = line.rstrip('\n').split('\t')
            if fields[0] == 'kernel' and len(fields) == 3:
                kernels.append(f'{fields[1]} ({fields[2]})')
            if fields[0] == 'cause' and len(fields) == 4:
                causes[fields[1]] = fields[2:]
            if fields[0] != 'row' or len(fields) != 4:
                continue
            _, column, kind, fate = fields
            before = fates.get((column, kind))
            if before is None or before.startswith('untested'):
                fates[column, kind] = fate
            elif not fate.startswith('untested') and fate != before:
                sys.exit(f'{kind}, {column}: the machines differ: "{before}" and "{fate}"')
    return kernels, fates, causes


def fate_of(fates, column, kind):
    fate = fates.get((column, kind), 'untested')
    return 'untested on these kernels' if fate.startswith('untested') else fate


def table(kinds, kernels, fates, causes):
    lines = ['Asserted on Linux ' + ' and '.join(kernels) + '.', '',
             '| memory | `--to same` | `--to` another node | and with `--shared` |', '|---|---|---|---|']
    unshared = [what for name, what in kinds if fates.get(('unshare', name)) == 'own path']
    used, untested = set(), []
    for name, what in kinds:
        row = [fate_of(fates, column, name) for column in ('same', 'other', 'shared')]
        lines.append('| ' + ' | '.join([what, *row]) + ' |')
        used.update(fate.removeprefix('stays: ') for fate in row if fate.startswith('stays: '))
        if any('untested' in fate for fate in row):
            untested.append(what)
    lines += ['', f'Untested on these kernels: {len(untested)}' + (f' ({", ".join(untested)})' if untested else '') + '.',
              '', 'With `--unshare` these move by the own path, too: ' + '; '.join(unshared) + '.',
              '', '| why it stays | for how long | what helps |', '|---|---|---|']
    lines += [f'| {cause} | {"for now" if causes[cause][0] == "1" else "as long as it is so"} | {causes[cause][1]} |'
              for cause in causes if cause in used]
    return '\n'.join(lines) + '\n'


def main():
    update = '--update' in sys.argv
    page_path, kinds_path, *outputs = [word for word in sys.argv[1:] if word != '--update']
    kinds = [line.rstrip('\n').split('\t') for line in open(kinds_path, encoding='utf-8')]
    made = table(kinds, *read(outputs))
    page = open(page_path, encoding='utf-8').read()
    text, head, old = page.partition(HEAD)
    if not head:
        sys.exit(f'{page_path} has no line {HEAD}')
    if update:
        open(page_path, 'w', encoding='utf-8').write(text + HEAD + '\n' + made)
        return

    def plain(table_text):  # the kernels are those of the machines at hand
        return re.sub(r'Asserted on .*\n', '', table_text).strip()
    if plain(old) != plain(made):
        sys.exit(f'{page_path} is not what came out (write it anew with --update):\n{made}')
    print(f'{page_path} is what came out: {len(kinds)} rows')


main()
