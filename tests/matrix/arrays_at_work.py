"""Large arrays that are changed and hashed, round after round: arrays_at_work.py SEED [ROUNDS]

The same seed gives the same digests. Says each round's; ends after ROUNDS, or when its standard input ends."""
import array
import hashlib
import random
import select
import sys

BYTES, WORDS, OBJECTS = 24 << 20, 2 << 20, 200_000


class Arrays:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.bytes = bytearray(self.random.randbytes(BYTES))
        self.words = array.array('Q', self.random.randbytes(8 * WORDS))
        self.texts = [str(self.random.random()) for _ in range(OBJECTS)]
        self.by_text = dict(zip(self.texts, range(OBJECTS)))

    def change(self):
        """All kinds of writes: in place, by block moves, by new objects in the place of old ones, by growing."""
        pick = self.random.randrange
        start, length = pick(BYTES // 2), BYTES // 8
        self.bytes[start:start + length] = self.bytes[-length:]
        self.bytes = self.bytes[1 << 20:] + self.bytes[:1 << 20]
        for _ in range(2000):
            self.words[pick(WORDS)] ^= self.random.getrandbits(64)
        self.words.extend(self.words[:4096])
        del self.words[:4096]
        for _ in range(2000):
            i = pick(OBJECTS)
            self.by_text.pop(self.texts[i], None)
            self.texts[i] = str(self.random.random())
            self.by_text[self.texts[i]] = i

    def digest(self):
        whole = hashlib.sha256(self.bytes)
        whole.update(self.words)
        whole.update(''.join(self.texts).encode())
        whole.update(str(sum(self.by_text[text] for text in self.texts[::16] if text in self.by_text)).encode())
        return whole.hexdigest()


def ended():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main():
    arrays = Arrays(int(sys.argv[1]))
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else None
    done = 0
    while done != rounds if rounds is not None else not ended():
        arrays.change()
        done += 1
        print(done, arrays.digest(), flush=True)


main()
