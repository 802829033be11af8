"""A JVM that collects garbage, verifies its heap before and after every collection, and checks a graph of its own."""
import pathlib
import re
import subprocess
import time

import moving

NEEDS = {'java': 'openjdk-17-jre-headless', 'javac': 'openjdk-17-jdk-headless'}
SOURCE = pathlib.Path(__file__).with_name('Heap.java')
OPTIONS = ['-Xms96m', '-Xmx96m', '-XX:+UseG1GC', '-XX:ParallelGCThreads=2', '-XX:-UsePerfData',
           '-XX:+UnlockDiagnosticVMOptions',
           '-XX:+VerifyBeforeGC', '-XX:+VerifyAfterGC', '-Xlog:gc,gc+verify']
THREADS, NODES = 4, 6000  # some 30 MiB that live
COLLECTIONS, COLLECTIONS_SHORT = 30, 3  # that the JVM has verified while it was moved, at least


def exercise(course):
    done = subprocess.run(['javac', '-d', course.folder, SOURCE], capture_output=True, text=True)
    if done.returncode:
        raise moving.Broken(f'javac ended with {done.returncode}: {done.stderr.strip()}')
    log = course.folder / 'log'
    words = ['java', *OPTIONS, '-cp', course.folder, 'Heap', course.random.randrange(1 << 31), THREADS, NODES]
    with open(log, 'wb') as output:
        server = course.start(map(str, words), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
    course.wait_until(lambda: 'ready\n' in log.read_text(), 'a JVM that works')
    due = verified(log) + (COLLECTIONS_SHORT if course.short else COLLECTIONS)
    with course.moving(lambda: [(server.pid,)]):
        course.wait_until(lambda: verified(log) >= due or course.wrong, f'collection {due}', seconds=300)
        while course.more(course.moved[server.pid]):
            time.sleep(0.01)
    course.require(course.moved[server.pid])
    server.stdin.close()
    course.stop(server)
    check(course, log.read_text())


def verified(log):
    return log.read_text().count('Verifying After GC')


def check(course, said):
    end = re.search(r'^rounds (\d+) collections (\d+) wrong (\d+)$', said, re.MULTILINE)
    if not end:
        raise moving.Broken(f'the JVM does not say what it has found: {said[-2000:]}')
    rounds, _, wrong = map(int, end.groups())
    course.expect(wrong, 0, 'nodes of the graph that are wrong')
    course.expect(rounds >= THREADS, True, f'rounds through the graph ({rounds}) at least {THREADS}')
