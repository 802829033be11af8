"""The sqlite3 shell under a load of transactions, on a file and in memory; a model here says what must come out."""
import subprocess

NEEDS = {'sqlite3': 'sqlite3'}
ROWS, STEPS, STEPS_SHORT = 40000, 150, 12  # steps: at least
DATABASES = ('main', 'memory')
BEGIN = """pragma cache_size = -65536; pragma temp_store = memory; attach ':memory:' as memory;"""
TABLE = """create table {0}.t (id integer primary key, v integer, text text); create index {0}.t_v on t (v);
           create index {0}.t_text on t (text);"""


def text(value):
    """It follows from the value, so that a row can be checked by itself."""
    return f"printf('%0100d', {value}) || hex({value})"


SUMS = f"""select count(*), sum(v), sum(id * (v % 1000)), sum(text <> {text('v')}) from {{0}}.t;
           select count(*) from (select v from {{0}}.t order by text);"""


class Shell:
    """sqlite3, asked over its standard input; a mark tells where an answer ends."""

    def __init__(self, course):
        self.course, self.asked = course, 0
        self.process = course.start(['sqlite3', '-batch', '-bail', course.folder / 'database'], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(self, statements):
        self.asked += 1
        mark, lines = f'answer {self.asked}', []
        self.process.stdin.write(f"{statements}\nselect '{mark}';\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.strip() == mark:
                return lines
            lines.append(line.strip())
        raise OSError(f'sqlite3 has ended: {" ".join(lines)}')


class Model:
    """The rows as they must be."""

    def __init__(self, random):
        self.random, self.rows = random, {}

    def step(self):
        """A statement, and what it does to the rows."""
        pick = self.random.randrange
        kind = pick(5)
        start, length, by = pick(ROWS), pick(200, 2000), pick(1, 1 << 40)
        span = range(start, start + length)
        where = f'where id between {span[0]} and {span[-1]}'
        if kind < 2:
            return self.fill(span, by)
        if kind == 2:
            self.rows.update({i: self.rows[i] + by for i in span if i in self.rows})
            value = f'v + {by}'
            return f'update {{0}}.t set v = {value}, text = {text(value)} {where};'
        if kind == 3:
            for i in span:
                self.rows.pop(i, None)
            return f'delete from {{0}}.t {where};'
        return (f'savepoint s; update {{0}}.t set v = -1 {where}; delete from {{0}}.t where id % 7 = 0; rollback to s; '
                'release s;')

    def fill(self, span, by):
        self.rows.update({i: i * by % 1000003 for i in span})
        value = f'id * {by} % 1000003'
        return (f'with recursive s(id) as (select {span[0]} union all select id + 1 from s where id < {span[-1]}) '
                f'insert or replace into {{0}}.t select id, {value}, {text(value)} from s;')

    def sums(self):
        return [len(self.rows), sum(self.rows.values()), sum(i * (v % 1000) for i, v in self.rows.items()), 0]


def transaction(models):
    """A step of each database, committed together."""
    return f'begin; {" ".join(models[name].step().format(name) for name in DATABASES)} commit;'


def check(course, shell, models):
    for name, model in models.items():
        found = [int(word) for word in ' '.join(shell.ask(SUMS.format(name))).replace('|', ' ').split()]
        due = model.sums()
        course.expect(found, [*due, due[0]], f'rows, sums and wrong texts of {name}')
        course.expect(shell.ask(f'pragma {name}.integrity_check;'), ['ok'], f'integrity check of {name}')


def exercise(course):
    shell = Shell(course)
    models = {name: Model(course.random) for name in DATABASES}
    shell.ask(BEGIN + ''.join(TABLE.format(name) for name in DATABASES))
    for name in DATABASES:
        shell.ask(models[name].fill(range(ROWS), 7).format(name))
    steps, least = 0, STEPS_SHORT if course.short else STEPS
    with course.moving(lambda: [(shell.process.pid,)]):
        while course.more(course.moved[shell.process.pid]) or (steps < least and not course.wrong):
            course.expect(shell.ask(transaction(models)), [], 'what a transaction says')
            steps += 1
        check(course, shell, models)
    course.require(course.moved[shell.process.pid])
    shell.process.stdin.close()
    course.stop(shell.process)
    again = Shell(course)  # what has come to the file, read by another process
    check(course, again, {'main': models['main']})
    again.process.stdin.close()
    course.stop(again.process)
