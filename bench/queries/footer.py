"""Takes the ledger out of an archive's object, byte by byte: nothing else of it changes.

The ledger stands directly before the footer, behind all pages and indexes, so none of those moves. The footer is Thrift's compact protocol. It is
read into (kind, value) and written again as it was, which is tried on each footer before its entries about the ledger are left out.
"""

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
LEDGER = b"cc-archiver.ledger"
# the number of this field, as parquet.thrift has it
METADATA = 5


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


def without_ledger(data):
    """The object's bytes without its ledger, and how many bytes that is of."""
    size = int.from_bytes(data[-8:-4], "little")
    end = len(data) - 8 - size
    footer = Reader(data[end:-8]).struct()
    if struct(footer) != data[end:-8]:
        raise SystemExit("a footer that does not come out as it went in")
    metadata = next(field for field in footer if field[0] == METADATA)
    kind, entries = metadata[2]
    # an entry is a key and a value
    values = {entry[0][2]: entry[1][2] for entry in entries}
    if LEDGER not in values:
        raise SystemExit("an object without a ledger")
    metadata[2] = kind, [entry for entry in entries if not entry[0][2].startswith(LEDGER)]
    new = struct(footer)
    found = data[: end - int(values[LEDGER])] + new + len(new).to_bytes(4, "little") + data[-4:]
    return found, len(data) - len(found)
