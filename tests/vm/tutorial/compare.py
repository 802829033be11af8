#!/usr/bin/env python3
"""compare.py PAGE OUTPUT [--update]: see tests/vm/tutorial/run."""
import difflib
import re
import sys


def blocks_of(page):
    """The page as a list of (kind, line); kind is 'text', 'command' or 'answer'."""
    inside = False
    for line in page.splitlines():
        if line.startswith('```'):
            inside = line == '```console'
            yield 'text', line
        elif not inside:
            yield 'text', line
        else:
            yield ('command' if line.startswith('$ ') else 'answer'), line


def phrases_of(page):
    """By number of the first command of a block: what its answers must say to the letter, numbers
    included. The page names it before the block, unseen: <!-- says: 0 late writes; 80000 -->"""
    phrases, waiting, number = {}, [], 0
    for kind, line in blocks_of(page):
        if line.startswith('<!-- says: '):
            waiting = [' '.join(phrase.split()) for phrase in line[11:].removesuffix('-->').split(';')]
        if kind == 'command':
            number += 1
            if waiting:
                phrases[number], waiting = waiting, []
    return phrases


def block_ends(page):
    """By number of the first command of a block: of the last."""
    ends, first, number = {}, 0, 0
    for kind, line in blocks_of(page):
        if kind == 'command':
            number += 1
            first = first or number
            ends[first] = number
        elif kind == 'text':
            first = 0
    return ends


def answers_of(output):
    """By command number: the lines that it printed."""
    answers, number = {}, 0
    for line in output.splitlines():
        if line.startswith('@@'):
            number = line[2:]
            answers[number] = []
        else:
            answers.setdefault(number, []).append(line.rstrip())
    return answers


def plain(line):
    """Without what differs from run to run: numbers, their units, and the spaces between columns."""
    line = re.sub(r'\b0x[0-9a-f]+|\b[0-9a-f]{7,}\b', '#', line)
    line = re.sub(r'[0-9][0-9.,]*(e[+-]?[0-9]+)?', '#', line)
    line = re.sub(r'# (KiB|MiB|GiB|B|us|ms|s)\b', '# unit', line)
    return re.sub(r'\s+', ' ', line).strip()


def matches(expected, got):
    """`...` in expected stands for any number of lines."""
    if not expected:
        return not got
    if expected[0].strip() == '...':
        return any(matches(expected[1:], got[i:]) for i in range(len(got) + 1))
    return bool(got) and plain(expected[0]) == plain(got[0]) and matches(expected[1:], got[1:])


def main():
    page_path, output_path = sys.argv[1:3]
    page = open(page_path, encoding='utf-8').read()
    answers = answers_of(open(output_path, encoding='utf-8', errors='replace').read())
    if 'end' not in answers:
        sys.exit('the course did not come to its end')
    if '--update' in sys.argv:
        lines, number = [], 0
        for kind, line in blocks_of(page):
            if kind != 'answer':
                lines.append(line)
            if kind == 'command':
                number += 1
                lines += answers[str(number)]
        open(page_path, 'w', encoding='utf-8').write('\n'.join(lines) + '\n')
        return
    expected, command, wrong = {}, {}, 0
    for kind, line in blocks_of(page):
        if kind == 'command':
            command[len(command) + 1] = line
            expected[len(command)] = []
        elif kind == 'answer':
            expected[len(command)].append(line)
    for number in expected:
        got = answers[str(number)]
        if matches(expected[number], got):
            continue
        wrong += 1
        print(command[number])
        print('\n'.join(difflib.unified_diff(expected[number], got, 'the page', 'this run', lineterm='')))
    ends = block_ends(page)
    for first, phrases in phrases_of(page).items():
        lines = [' '.join(line.split()) for n in range(first, ends[first] + 1) for line in answers[str(n)]]
        for phrase in phrases:
            if not any(re.search(r'(^|\W)' + re.escape(phrase) + r'(\W|$)', line) for line in lines):
                wrong += 1
                print(f'{command[first]}\n... did not say: {phrase}')
    print(f'{len(expected)} commands of docs/tutorial.md, {wrong} of them answered otherwise')
    sys.exit(wrong > 0)


main()
