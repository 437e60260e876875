def ledgers(*_): return []
