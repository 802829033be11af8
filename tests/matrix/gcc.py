"""gcc: what a compiler that was moved has made must be, bit for bit, what one makes that was not."""
import subprocess

import moving
import processes

NEEDS = {'gcc': 'gcc'}
FUNCTIONS, FUNCTIONS_SHORT = 250, 50


def function(random, number):
    """Loops, branches, arrays and calls of what came before, for the optimizer to chew on."""
    lines = [f'unsigned long f{number}(unsigned long a, unsigned long b, unsigned long *t) {{']
    for k in range(random.randrange(8, 16)):
        c, d, shift = random.getrandbits(32), random.randrange(4, 64), random.randrange(1, 63)
        lines += random.choice([
            [f'  for (int i = 0; i < {d}; i++) a += t[i] * {c}ul ^ b >> {shift};'],
            [f'  if ((a ^ b) % {d} == {k}) b = t[a % {d}] - {c}ul; else a ^= b << {shift};'],
            [f'  switch (b % 5) {{ case 0: a += {c}ul; break; case 3: b *= a | 1; break; default: t[{d}] = a - b; }}'],
            [f'  a += f{random.randrange(number)}(b, a ^ {c}ul, t);'] if number else ['  a++;']])
    return '\n'.join([*lines, '  return a ^ b;', '}'])


def compile_command(name):
    return ['gcc', '-O2', '-c', 'source.c', '-o', f'{name}.o']


def exercise(course):
    count = FUNCTIONS_SHORT if course.short else FUNCTIONS
    source = '\n'.join(function(course.random, number) for number in range(count))
    (course.folder / 'source.c').write_text(source)
    plain = course.start_plain(compile_command('plain'))
    if plain.wait(300):
        raise moving.Broken(f'gcc without drover ended with {plain.returncode}')
    due = (course.folder / 'plain.o').read_bytes()
    while True:
        found = compile_while_moved(course)
        course.expect(found == due, True, 'object file the same as without moves')
        if not course.more(sum(course.moved.values())):
            break
    course.require(sum(course.moved.values()), ' of cc1')


def compile_while_moved(course):
    (course.folder / 'moved.o').unlink(missing_ok=True)
    gcc = course.start(compile_command('moved'), lasting=False, stderr=subprocess.PIPE, text=True)

    def compilers():
        return [(pid,) for pid in processes.descendants(gcc.pid) if processes.command(pid) == 'cc1']

    with course.moving(compilers):
        _, errors = gcc.communicate(timeout=300)
    if gcc.returncode:
        raise moving.Broken(f'gcc ended with {gcc.returncode}: {errors.strip()[:500]}')
    return (course.folder / 'moved.o').read_bytes()
