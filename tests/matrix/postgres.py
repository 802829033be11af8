"""PostgreSQL under pgbench: the processes of the cluster, old and new, are moved in turn."""
import re
import shutil
import subprocess

import moving
import processes

BIN = '/usr/lib/postgresql/15/bin'
NEEDS = {f'{BIN}/postgres': 'postgresql-15', f'{BIN}/pgbench': 'postgresql-15', f'{BIN}/pg_checksums': 'postgresql-15',
         f'{BIN}/psql': 'postgresql-client-15', 'setpriv': 'util-linux'}
AS_POSTGRES = ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--clear-groups']
SCALE, SCALE_SHORT = 5, 1
CLIENTS, TRANSACTIONS = 4, 300  # of each client in one pgbench
STANDING = 6  # postmaster, checkpointer, background writer, WAL writer, launchers of autovacuum and replication
SORT = "select md5(string_agg(v, ',' order by v)) from (select md5(n::text) v from generate_series(1, 30000) n) t"
INDEXES = """from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
             where a.amname = 'btree' and i.indisvalid and c.relpersistence = 'p'"""
BALANCES = """select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches),
                     (select sum(tbalance) from pgbench_tellers), (select sum(delta) from pgbench_history)"""
HARMLESS = '  (canceling autovacuum task|the database system is starting up)'
TROUBLE = re.compile(f'PANIC|by signal|(FATAL|ERROR|WARNING):(?!{HARMLESS})')
TROUBLE_AT_THE_END = re.compile('PANIC|by signal')


class Cluster:
    def __init__(self, course):
        self.course, self.folder, self.data = course, course.folder / 'cluster', course.folder / 'cluster/data'
        self.folder.mkdir()
        shutil.chown(self.folder, 'postgres', 'postgres')
        self.tool('initdb', '--data-checksums', '-A', 'trust', '-D', self.data)
        words = [f'{BIN}/postgres', '-D', self.data, '-k', self.folder, '-c', 'listen_addresses=']
        with open(course.folder / 'log', 'wb') as log:
            self.server = course.start([*AS_POSTGRES, *words], stderr=log)
        ready = [*AS_POSTGRES, f'{BIN}/pg_isready', '-q', '-h', self.folder]
        course.wait_until(lambda: subprocess.run(ready, cwd='/').returncode == 0, 'a PostgreSQL that answers')

    def tool(self, name, *words):
        words = [*AS_POSTGRES, f'{BIN}/{name}', *map(str, words)]
        done = subprocess.run(words, cwd='/', env={'LC_ALL': 'C.UTF-8'}, capture_output=True, text=True)
        if done.returncode:
            raise moving.Broken(f'{name} ended with {done.returncode}: {done.stderr.strip()}')
        return done.stdout.strip()

    def bench(self, *words):
        return self.tool('pgbench', '-h', self.folder, *words, 'postgres')

    def ask(self, question):
        return self.tool('psql', '-h', self.folder, '-X', '-q', '-A', '-t', '-c', question, 'postgres')

    def processes(self):
        return [self.server.pid, *processes.descendants(self.server.pid)]

    def stop(self):
        """A fast, clean stop, after which the files must be whole."""
        self.course.lasting.pop(self.server.pid)
        self.server.send_signal(2)
        self.course.stop(self.server)
        running, stop, ending = (self.course.folder / 'log').read_text().partition('received fast shutdown request')
        self.course.expect(bool(stop), True, 'a log that tells of the stop')
        for pattern, part in ((TROUBLE, running), (TROUBLE_AT_THE_END, ending)):
            self.course.wrong += [f'in the log: {line}' for line in part.splitlines() if pattern.search(line)]


def work(course, cluster, sorted_digest):
    """A pgbench of transactions that are counted, and a sort in private memory whose outcome is known."""
    seed = course.random.randrange(1 << 31)
    done = cluster.bench('-n', '-c', CLIENTS, '-t', TRANSACTIONS, f'--random-seed={seed}')
    course.expect('number of failed transactions: 0 ' in done, True, 'pgbench without failed transactions')
    course.expect(cluster.ask(SORT), sorted_digest, 'digest of what was sorted')
    return CLIENTS * TRANSACTIONS


def check_tables(course, cluster, transactions):
    sums = cluster.ask(BALANCES).split('|')
    course.expect(len(set(sums)), 1, f'sums of accounts, branches, tellers and history ({", ".join(sums)})')
    course.expect(int(cluster.ask('select count(*) from pgbench_history')), transactions, 'transactions in the history')
    checked = cluster.ask(f'select count(*) from (select bt_index_check(c.oid, true) {INDEXES}) t')
    course.expect(int(checked) > 100, True, f'indexes checked ({checked}) more than 100')


def check_files(course, cluster):
    said = cluster.tool('pg_checksums', '--check', '-D', cluster.data)
    course.expect(re.findall(r'Bad checksums: +(\d+)', said), ['0'], 'bad checksums')
    scanned = int(re.search(r'Blocks scanned: +(\d+)', said)[1])
    course.expect(scanned > 1000, True, f'blocks scanned ({scanned}) more than 1000')


def exercise(course):
    cluster = Cluster(course)
    cluster.ask('create extension amcheck')
    cluster.bench('-i', '-q', '-s', SCALE_SHORT if course.short else SCALE)
    sorted_digest = cluster.ask(SORT)
    at_first, transactions = cluster.processes(), 0

    def fewest():
        """Moves of the process that was moved the least often; those that come and go left out."""
        standing = [pid for pid in at_first if processes.title(pid)]
        course.expect(len(standing) >= STANDING, True, f'standing processes ({len(standing)}) at least {STANDING}')
        return min(course.moved[pid] for pid in standing)

    def targets():
        for pid in cluster.processes():
            yield from [(pid,), (pid, '--unshare')]  # without it, what is shared since a fork stays

    with course.moving(targets):
        while course.more(fewest()):
            transactions += work(course, cluster, sorted_digest)
    course.require(fewest(), ' of each process')
    check_tables(course, cluster, transactions)
    cluster.stop()
    check_files(course, cluster)
