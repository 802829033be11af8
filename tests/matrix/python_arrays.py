"""CPython with large arrays: every digest must be that of a second run, which nobody has moved."""
import pathlib
import subprocess
import time

import moving

NEEDS = {'python3': 'python3'}
PROGRAM = pathlib.Path(__file__).with_name('arrays_at_work.py')
ROUNDS, ROUNDS_SHORT = 40, 3  # at least


def exercise(course):
    seed = str(course.random.randrange(1 << 31))
    log = course.folder / 'log'
    with open(log, 'wb') as output:
        subject = course.start(['python3', PROGRAM, seed], stdin=subprocess.PIPE, stdout=output)
    course.wait_until(log.read_text, 'a first digest')
    due = len(rounds(log)) + (ROUNDS_SHORT if course.short else ROUNDS)
    with course.moving(lambda: [(subject.pid,)]):
        course.wait_until(lambda: len(rounds(log)) >= due or course.wrong, f'round {due}', seconds=300)
        while course.more(course.moved[subject.pid]):
            time.sleep(0.01)
    course.require(course.moved[subject.pid])
    subject.stdin.close()
    course.stop(subject)
    compare(course, rounds(log), seed)


def rounds(log):
    return log.read_text().splitlines()


def compare(course, found, seed):
    done = subprocess.run(['python3', PROGRAM, seed, str(len(found))], capture_output=True, text=True)
    due = done.stdout.splitlines()
    if done.returncode or len(due) != len(found):
        raise moving.Broken(f'the run for comparison ended with {done.returncode}: {done.stderr.strip()}')
    differ = [line for line, other in zip(found, due) if line != other]
    course.expect(len(differ), 0, f'digests that differ (of {len(found)}, first {differ[:1]})')
