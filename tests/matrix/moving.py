"""One program of the matrix: started under drover, moved as a whole again and again, and what that came to."""
import collections
import contextlib
import json
import os
import random
import subprocess
import threading
import time

import processes

MOVE_SECONDS = 60  # a move that takes longer hangs
ENDED = (4, 6)  # exit codes where the process had ended, was giving up its memory, or ended during the move


class Broken(Exception):
    """Why a program's run cannot go on, in one line."""


class Course:
    def __init__(self, name, drover, folder, wanted, short, seed):
        self.name, self.drover, self.folder, self.wanted, self.short = name, drover, folder, wanted, short
        self.random = random.Random(f'{seed} {name}')
        self.lasting = {}  # pid to process: what must not end before stop()
        self.wrong = []
        self.moved = collections.Counter()  # by pid, the moves that moved pages
        self.codes = collections.Counter()
        self.refusals = collections.Counter()
        self.pages_requested = self.pages_moved = 0
        self.largest_stall_us = 0.0
        self.enough = threading.Event()
        self.began = time.monotonic()
        self.deadline = self.began + (60 if short else 600)

    def start(self, words, lasting=True, **options):
        """Under drover: the pid is the program's own."""
        process = self.start_plain([self.drover, 'run', '--', *words], **options)
        if lasting:
            self.lasting[process.pid] = process
        return process

    def start_plain(self, words, **options):
        environment = {**os.environ, 'TMPDIR': str(self.folder), 'LC_ALL': 'C.UTF-8'}
        return subprocess.Popen(words, start_new_session=True, cwd=self.folder, env=environment, **options)

    def move(self, pid, *more):
        """A move of the whole process, every third with the usual stall budget; False if no other should follow."""
        budget = '500us' if self.codes.total() % 3 == 0 else 'none'
        words = [self.drover, 'move', str(pid), '--to', 'same', '--max-stall', budget, '--json', *more]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, errors = process.communicate(timeout=MOVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            self.wrong.append(f'a move of process {pid} did not end in {MOVE_SECONDS} s')
            return False
        if self.enough.is_set() and process.returncode in (-15, -9, 130):
            return False  # the run is being ended
        self.codes[process.returncode] += 1
        if process.returncode in (0, 3):
            self.count(pid, json.loads(output))
        elif pid in self.lasting or process.returncode not in ENDED or not processes.has_ended(pid):
            self.wrong.append(f'drover move {pid} ended with {process.returncode}: {errors.strip()}')
        return not self.wrong

    def count(self, pid, report):
        self.pages_requested += report['pages_requested']
        self.pages_moved += report['pages_moved']
        self.moved[pid] += report['pages_moved'] > 0
        self.largest_stall_us = max(self.largest_stall_us, report['stall_us']['max'])
        if report['own_path_refused']:
            self.refusals[report['own_path_refused']] += 1
        accounted = sum(report['pages_' + kind] for kind in ('moved', 'already_there', 'gone', 'not_moved'))
        causes = sum(cause['pages'] for cause in report['not_moved'])
        if accounted != report['pages_requested'] or causes != report['pages_not_moved']:
            self.wrong.append(f'the ledger of a move does not add up: {json.dumps(report)}')

    @contextlib.contextmanager
    def moving(self, targets):
        """Moves what targets() lists (pid and options), round after round without pause, until the block ends."""
        def keep_moving():
            while not self.enough.is_set():
                if not all(self.move(*target) for target in targets() if not self.enough.is_set()):
                    return
                time.sleep(0.001)  # where there is nothing to move
        self.enough.clear()
        thread = threading.Thread(target=keep_moving, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self.enough.set()
            raise
        self.enough.set()
        thread.join()

    def more(self, moves):
        """Whether the program must go on working, having been moved so often."""
        self.check_alive()
        return moves < self.wanted and not self.wrong and time.monotonic() < self.deadline

    def check_alive(self):
        for process in self.lasting.values():
            if process.poll() is not None:
                raise Broken(f'the program ended by itself, with {process.returncode}')
        if time.monotonic() > self.deadline + 60:
            raise Broken('the program does not come to an end')

    def require(self, moves, what=''):
        if moves < self.wanted:
            why = ''.join(f'; {reason} ({times} times)' for reason, times in self.refusals.items())
            self.wrong.append(f'not exercised: {moves} of {self.wanted} moves{what} moved pages{why}')

    def expect(self, found, due, what):
        if found != due:
            self.wrong.append(f'{what}: {found!r} instead of {due!r}')

    def wait_until(self, reached, what, seconds=60):
        ends = time.monotonic() + seconds
        while not reached():
            self.check_alive()
            if time.monotonic() > ends:
                raise Broken(f'{what} was not reached in {seconds} s')
            time.sleep(0.02)

    def stop(self, process, seconds=60):
        """Waits for one that was asked to end, and expects that it ends well."""
        self.lasting.pop(process.pid, None)
        try:
            self.expect(process.wait(seconds), 0, 'exit code')
        except subprocess.TimeoutExpired:
            raise Broken(f'the program did not stop in {seconds} s') from None

    def line(self):
        share = 100 * self.pages_moved / max(self.pages_requested, 1)
        codes = ', '.join(f'{code}: {times}' for code, times in sorted(self.codes.items())) or 'none'
        seconds = time.monotonic() - self.began
        moves = sum(self.moved.values())
        return (f'{self.name:14} {seconds:6.1f} s {moves:4} moves {self.pages_moved:9} pages {share:6.2f} %   '
                f'exit codes {codes:24} largest stall {self.largest_stall_us:8.0f} us   '
                f'integrity: {"; ".join(self.wrong) or "ok"}')
