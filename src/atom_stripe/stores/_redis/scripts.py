"""What runs inside Redis, and how it gets there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from atom_stripe._extras import require

with require("redis", extra="redis"):
    from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import redis
    import redis.asyncio


class Script:
    """A script, and the hash that Redis knows it by."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - Redis names scripts so


LOAD = Script("""
local now = redis.call('TIME')
return {redis.call('HGET', KEYS[1], ARGV[1]), now[1], now[2]}
""")

LOAD_AUTHORIZATION = Script("""
local now = redis.call('TIME')
return {redis.call('GET', KEYS[1]), now[1], now[2]}
""")

# A client that did not get the answer sends the script again: the mark tells that from somebody else's write.
_COMPARE = """
local function refused(stored, version, mark)
    if not stored then
        return version ~= 0 and 0
    end
    if stored.mark == mark then
        return 1
    end
    return stored.version ~= version and 0
end
"""

SAVE = Script(
    _COMPARE
    + """
local connections, references, ids, expiries = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local reference, id, expiry = ARGV[1], ARGV[2], ARGV[5]
local stored = redis.call('HGET', connections, reference)
stored = stored and cjson.decode(stored)
local outcome = refused(stored, tonumber(ARGV[3]), ARGV[4])
if outcome then
    return outcome
end
if stored and stored.id ~= id or not stored and redis.call('HEXISTS', references, id) == 1 then
    return 0
end
redis.call('HSET', connections, reference, ARGV[6])
redis.call('HSET', references, id, reference)
redis.call('ZADD', ids, 0, id)
if expiry == '' then
    redis.call('ZREM', expiries, id)
else
    redis.call('ZADD', expiries, expiry, id)
end
local function given(value)
    return value and value ~= cjson.null
end
local row = cjson.decode(ARGV[6])
for number, field in ipairs({'account', 'access_token_fingerprint', 'key_id'}) do
    local index = KEYS[4 + number]
    if stored and given(stored[field]) and stored[field] ~= row[field] then
        redis.call('ZREM', index, stored[field] .. '\\0' .. id)
    end
    if given(row[field]) then
        redis.call('ZADD', index, 0, row[field] .. '\\0' .. id)
    end
end
return 1
"""
)

SAVE_AUTHORIZATION = Script(
    _COMPARE
    + """
local stored = redis.call('GET', KEYS[1])
local outcome = refused(stored and cjson.decode(stored), tonumber(ARGV[1]), ARGV[2])
if outcome then
    return outcome
end
redis.call('SET', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

ROWS_OF_REFERENCES = Script("return redis.call('HMGET', KEYS[1], unpack(ARGV))")

_ROWS_OF_IDS = """
local function rows(connections, references, ids)
    local found = {}
    for number, id in ipairs(ids) do
        local reference = redis.call('HGET', references, id)
        found[number] = reference and redis.call('HGET', connections, reference)
    end
    return found
end
"""

ROWS = Script(_ROWS_OF_IDS + "return rows(KEYS[1], KEYS[2], ARGV)")

WALK = Script(
    _ROWS_OF_IDS
    + """
local ids = redis.call('ZRANGEBYLEX', KEYS[3], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
for number, member in ipairs(ids) do
    ids[number] = string.sub(member, 1 + ARGV[4])
end
return rows(KEYS[1], KEYS[2], ids)
"""
)

DUE = Script("return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])")

# From each key to the next: there are few keys and many rows.
KEY_IDS = Script("""
local found, from = {}, '-'
while true do
    local member = redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, 1)[1]
    if not member then
        return found
    end
    local key_id = string.match(member, '^[^%z]*')
    found[#found + 1] = key_id
    from = '[' .. key_id .. '\\1'
end
""")


class Scripts(Protocol):
    """Runs scripts. Raises redis-py's errors."""

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """Return what *script* returns."""
        ...


@dataclass(frozen=True, slots=True)
class BlockingScripts:
    client: redis.Redis | redis.RedisCluster

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        values: list[Any] = _encoded([*keys, *arguments])
        try:
            return self.client.evalsha(script.sha, len(keys), *values)
        except NoScriptError:
            return self.client.eval(script.text, len(keys), *values)


@dataclass(frozen=True, slots=True)
class NativeScripts:
    client: redis.asyncio.Redis | redis.asyncio.RedisCluster

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        values: list[Any] = _encoded([*keys, *arguments])
        try:
            return await self.client.evalsha(script.sha, len(keys), *values)
        except NoScriptError:
            return await self.client.eval(script.text, len(keys), *values)


def _encoded(values: Iterable[str]) -> list[bytes]:
    # As bytes, so that it does not matter which encoding the client was made with.
    return [value.encode("utf-8", "surrogatepass") for value in values]
