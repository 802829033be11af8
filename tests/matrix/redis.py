"""Redis: 64 MiB of keys, saved and its log rewritten by forked children all the while."""
import socket

import processes

NEEDS = {'redis-server': 'redis-server'}
KEYS, OTHERS, VALUE_BYTES = 65536, 1000, 1024
SNAPSHOTS, SNAPSHOTS_SHORT = 16, 1  # at least


class Client:
    """Over the server's socket, in its protocol; several commands at once where asked."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.replies = self.socket.makefile('rb')

    def __call__(self, *words):
        return self.all([words])[0]

    def all(self, commands):
        self.socket.sendall(b''.join(self.encoded(words) for words in commands))
        return [self.reply() for _ in commands]

    @staticmethod
    def encoded(words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(word), word) for word in words)

    def reply(self):
        line = self.replies.readline()
        if not line:
            raise OSError('Redis has closed the connection')
        if line[:1] == b'-':
            raise OSError(f'Redis: {line[1:].decode().strip()}')
        if line[:1] != b'$':
            return line[1:].decode().strip()
        length = int(line[1:])
        return None if length < 0 else self.replies.read(length + 2)[:-2]

    def info(self, name):
        for line in self('info').decode().splitlines():
            if line.startswith(name + ':'):
                return line.partition(':')[2]
        return ''


def server_words(course, *more):
    return ['redis-server', '--port', '0', '--unixsocket', course.folder / 'socket', '--dir', course.folder,
            '--save', '', '--rdbcompression', 'no', '--auto-aof-rewrite-percentage', '0',
            '--enable-debug-command', 'local', *more]


def log(course):
    return open(course.folder / 'log', 'ab')


def connect(course):
    def up():
        try:
            return Client(course.folder / 'socket')('ping') == 'PONG'
        except OSError:  # not there yet, or loading
            return False
    course.wait_until(up, 'a Redis that answers')
    return Client(course.folder / 'socket')


def load(client, values, others):
    pairs = [(f'key:{i}', value) for i, value in enumerate(values)] + [(f'other:{i}', v) for i, v in enumerate(others)]
    for start in range(0, len(pairs), 1024):
        client.all([('set', key, value) for key, value in pairs[start:start + 1024]])


class Snapshots:
    """A BGSAVE and a BGREWRITEAOF in turn, each by a child; never two at once."""

    def __init__(self, course, client, server):
        self.course, self.client, self.server, self.begun, self.moves_before = course, client, server, 0, 0

    def busy(self):
        return '1' in (self.client.info('rdb_bgsave_in_progress'), self.client.info('aof_rewrite_in_progress'))

    def begin(self):
        self.client(('bgsave', 'bgrewriteaof')[self.begun % 2])
        self.begun += 1

    def keep_going(self):
        """With two moves in between, for little can move while a child shares it."""
        if self.busy():
            self.moves_before = self.course.moved[self.server.pid]
        elif self.course.moved[self.server.pid] >= self.moves_before + 2:
            self.begin()

    def one_of_each(self):
        for _ in range(2):
            self.course.wait_until(lambda: not self.busy(), 'the end of a snapshot')
            self.begin()
        self.course.wait_until(lambda: not self.busy(), 'the end of a snapshot')


def work(course, client, snapshots, values):
    """Keys that are not written must read as they were; others are overwritten and read back."""
    pick = course.random
    for _ in range(20):
        some = pick.sample(range(KEYS), 20)
        found = client.all([('get', f'key:{i}') for i in some])
        course.expect(sum(a != values[i] for a, i in zip(found, some)), 0, 'values that have changed')
        fresh = {f'other:{pick.randrange(OTHERS)}': pick.randbytes(VALUE_BYTES) for _ in range(20)}
        client.all([('set', key, value) for key, value in fresh.items()])
        found = client.all([('get', key) for key in fresh])
        course.expect(sum(a != b for a, b in zip(found, fresh.values())), 0, 'values that are not what was set')
    snapshots.keep_going()


def exercise(course):
    values = [course.random.randbytes(VALUE_BYTES) for _ in range(KEYS)]
    others = [course.random.randbytes(VALUE_BYTES) for _ in range(OTHERS)]
    server = course.start(server_words(course, '--appendonly', 'yes'), stdout=log(course))
    client = connect(course)
    load(client, values, others)
    digest = client('debug', 'digest')
    snapshots = Snapshots(course, client, server)

    def targets():
        yield from [(server.pid,), (server.pid, '--unshare')]
        yield from [(child,) for child in processes.children(server.pid)]

    with course.moving(targets):
        least = SNAPSHOTS_SHORT if course.short else SNAPSHOTS
        while course.more(course.moved[server.pid]) or (snapshots.begun < least and not course.wrong):
            work(course, client, snapshots, values)
        load(client, [], others)  # as they were at first, so that the digest must be so, too
        snapshots.one_of_each()
    course.require(course.moved[server.pid])
    course.expect(client('debug', 'digest'), digest, 'digest')
    for name in ('rdb_last_bgsave_status', 'aof_last_bgrewrite_status', 'aof_last_write_status'):
        course.expect(client.info(name), 'ok', name)
    stop(course, client, server)
    for file, words in (('log', ['--appendonly', 'yes']), ('snapshot', ['--appendonly', 'no'])):
        check_restart(course, file, words, digest)


def check_restart(course, file, words, digest):
    server = course.start_plain(server_words(course, *words), stdout=log(course))
    course.lasting[server.pid] = server
    client = connect(course)
    course.expect(client('debug', 'digest'), digest, f'digest after a restart from the {file}')
    stop(course, client, server)


def stop(course, client, server):
    course.lasting.pop(server.pid)
    try:
        client('shutdown')
    except OSError:  # it closes the connection instead of answering
        pass
    course.stop(server)
