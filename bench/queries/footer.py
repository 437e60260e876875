"""Takes the ledger out of an archive's object, byte by byte: nothing else of it changes.

The footer is Thrift's compact protocol. It is read into (kind, value) and written again as it was, which is tried on each footer before
anything is left out. What the footer's metadata name as a ledger goes, and so do bytes before the footer that no page and no index is in:
a ledger may stand there.
"""

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
LEDGER = b"cc-archiver.ledger"
# numbers of fields, as parquet.thrift has them
ROW_GROUPS, METADATA = 4, 5
COLUMNS = 1
CHUNK, OFFSET_INDEX, COLUMN_INDEX = 3, (4, 5), (6, 7)
CHUNK_SIZE, DATA_PAGES, DICTIONARY, BLOOM_FILTER = 7, 9, 11, (14, 15)


class Reader:
    def __init__(self, data):
        self.data, self.place = data, 0

    def byte(self):
        self.place += 1
        return self.data[self.place - 1]

    def number(self):
        found = shift = 0
        while True:
            byte = self.byte()
            found |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return found

    def signed(self):
        found = self.number()
        return (found >> 1) ^ -(found & 1)

    def raw(self, count):
        self.place += count
        return self.data[self.place - count : self.place]

    def value(self, kind):
        if kind in (I16, I32, I64):
            return self.signed()
        if kind == BINARY:
            return self.raw(self.number())
        if kind in (LIST, SET):
            return self.list()
        if kind == STRUCT:
            return self.struct()
        if kind in (TRUE, FALSE, BYTE):
            return self.byte()
        if kind == DOUBLE:
            return self.raw(8)
        raise SystemExit(f"a footer with a value of kind {kind}")

    def list(self):
        head = self.byte()
        count = head >> 4
        kind = head & 15
        return kind, [self.value(kind) for _ in range(self.number() if count == 15 else count)]

    def struct(self):
        """A list of [number, kind, value]; of a boolean the kind is the value."""
        fields, number = [], 0
        while (head := self.byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self.signed()
            kind = head & 15
            fields.append([number, kind, None if kind in (TRUE, FALSE) else self.value(kind)])
        return fields


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value):
    return number(value << 1 if value >= 0 else (-value << 1) - 1)


def written(kind, value):
    if kind in (I16, I32, I64):
        return signed(value)
    if kind == BINARY:
        return number(len(value)) + value
    if kind in (LIST, SET):
        of, values = value
        head = bytes([len(values) << 4 | of]) if len(values) < 15 else bytes([0xF0 | of]) + number(len(values))
        return head + b"".join(written(of, one) for one in values)
    if kind == STRUCT:
        return struct(value)
    return bytes([value]) if kind in (TRUE, FALSE, BYTE) else value


def struct(fields):
    out, last = bytearray(), 0
    for place, kind, value in fields:
        step = place - last
        out += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + signed(place)
        if kind not in (TRUE, FALSE):
            out += written(kind, value)
        last = place
    return bytes(out) + b"\0"


def get(fields, place):
    return next((value for number, _, value in fields if number == place), None)


def move(fields, place, moved):
    for field in fields:
        if field[0] == place:
            field[2] = moved(field[2])


def chunks(footer):
    return [column for group in get(footer, ROW_GROUPS)[1] for column in get(group, COLUMNS)[1]]


def claimed(footer):
    """The spans that pages and indexes are in."""
    for column in chunks(footer):
        meta = get(column, CHUNK)
        first = min(place for place in (get(meta, DATA_PAGES), get(meta, DICTIONARY)) if place is not None)
        yield first, first + get(meta, CHUNK_SIZE), True
        for fields, pair in ((column, OFFSET_INDEX), (column, COLUMN_INDEX), (meta, BLOOM_FILTER)):
            if get(fields, pair[0]) is not None:
                yield get(fields, pair[0]), get(fields, pair[0]) + get(fields, pair[1]), False


def gaps(footer, end):
    """The spans between the first bytes and the footer that are nobody's. They must be behind all pages: pages do not move."""
    place, found, pages = 4, [], max((last for _, last, of_pages in claimed(footer) if of_pages), default=4)
    for first, last, _ in sorted(claimed(footer)):
        if first > place:
            found.append((place, first))
        place = max(place, last)
    if place < end:
        found.append((place, end))
    if any(first < pages for first, _ in found):
        raise SystemExit(f"bytes before the end of the pages that no footer names: {found}")
    return found


def without_ledger(data):
    """The object's bytes without its ledger, and how many bytes that is of."""
    size = int.from_bytes(data[-8:-4], "little")
    end = len(data) - 8 - size
    footer = Reader(data[end:-8]).struct()
    if struct(footer) != data[end:-8]:
        raise SystemExit("a footer that does not come out as it went in")
    left_out = gaps(footer, end)

    def moved(place):
        return place - sum(last - first for first, last in left_out if last <= place)

    for column in chunks(footer):
        for fields, pair in ((column, OFFSET_INDEX), (column, COLUMN_INDEX), (get(column, CHUNK), BLOOM_FILTER)):
            move(fields, pair[0], moved)
    kind, entries = get(footer, METADATA)
    kept = [entry for entry in entries if not get(entry, 1).startswith(LEDGER)]
    if len(kept) == len(entries):
        raise SystemExit("an object without a ledger")
    move(footer, METADATA, lambda _: (kind, kept))
    body, place = [], 0
    for first, last in [*left_out, (end, end)]:
        body.append(data[place:first])
        place = last
    new = struct(footer)
    found = b"".join(body) + new + len(new).to_bytes(4, "little") + data[-4:]
    return found, len(data) - len(found)
