"""The scripts of a ``RedisHub``: each runs as a whole, so that events are numbered in the order in which they are kept.

Keys, behind the prefix of the hub:

* ``state``: a hash with the epoch, its first number, and the number of the newest event.
* ``control``: a stream that tells of new epochs.
* ``e:TOPIC`` and ``p:TOPIC``: the two logs of a topic, streams whose ids are the numbers. An entry has its count in the
  log, its time, its token, the name of the event, the kind of its data, and these.
* ``m:`` and a log: a hash with the count of its entries, the number of the last one that is not kept, and their bytes.
* ``t:`` and a token: the number of a published event, for a publisher that has lost the reply.
* ``l:TOPIC``: a sorted set of leases by the time of their end; ``c:TOPIC``: a hash of members with their leases.
"""

from __future__ import annotations

from typing import Final

COMMON: Final = """
local P, NEW, HISTORY, SECONDS, BYTES = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local call = redis.call
local function text(number) return string.format('%.0f', number) end
local function number(id) return tonumber(string.match(id, '^%d+')) end
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function begin(epoch, base)
  call('HSET', P .. 'state', 'epoch', epoch, 'base', text(base), 'n', text(base))
  call('XADD', P .. 'control', 'MAXLEN', 16, '*', 'epoch', epoch)
end
if not call('HGET', P .. 'state', 'epoch') then begin(NEW, 0) end
local function state() return call('HMGET', P .. 'state', 'epoch', 'base', 'n') end

local function drop(log, entry)
  call('XDEL', P .. log, entry[1])
  call('HSET', P .. 'm:' .. log, 'lost', text(number(entry[1])))
  if BYTES >= 0 then call('HINCRBY', P .. 'm:' .. log, 'bytes', -(#entry[2][12] + 64)) end
end

local function trim(log)
  while true do
    local entry = call('XRANGE', P .. log, '-', '+', 'COUNT', 1)[1]
    if not entry then return end
    local length = call('XLEN', P .. log)
    local old = SECONDS >= 0 and tonumber(entry[2][4]) <= NOW - SECONDS * 1000
    local bytes = BYTES >= 0 and tonumber(call('HGET', P .. 'm:' .. log, 'bytes')) > BYTES
    if length <= math.max(HISTORY, 100) and not old and not (bytes and length > 1) then return end
    drop(log, entry)
  end
end

local function emit(log, token, event, kind, data)
  local n = call('HINCRBY', P .. 'state', 'n', 1)
  local count = call('HINCRBY', P .. 'm:' .. log, 'count', 1)
  call('HSET', P .. 'm:' .. log, 'newest', text(n))
  call('XADD', P .. log, text(n) .. '-0',
    'c', count, 't', text(NOW), 'u', token, 'e', event, 'k', kind, 'd', data)
  if BYTES >= 0 then call('HINCRBY', P .. 'm:' .. log, 'bytes', #data + 64) end
  trim(log)
  if SECONDS >= 0 then call('PEXPIRE', P .. log, text(SECONDS * 1000 + 60000)) end
  return n
end

-- The number of the newest entry that is no history any more: at least a hundred are kept, for the readers.
local function floor_of(log)
  trim(log)
  local known = call('HMGET', P .. 'm:' .. log, 'lost', 'newest')
  if call('EXISTS', P .. log) == 0 then return tonumber(known[2] or '0') end
  if HISTORY < 100 then
    local page = call('XREVRANGE', P .. log, '+', '-', 'COUNT', HISTORY + 1)
    if #page > HISTORY then return number(page[HISTORY + 1][1]) end
  end
  return tonumber(known[1] or '0')
end

local function leave(topic, lease)
  local member = string.match(lease, '^[^ ]+ (.*)$')
  if call('ZREM', P .. 'l:' .. topic, lease) == 1 and call('HINCRBY', P .. 'c:' .. topic, member, -1) <= 0 then
    call('HDEL', P .. 'c:' .. topic, member)
    emit('p:' .. topic, '', 'leave', 't', member)
  end
end

local function sweep(topic)
  for _, lease in ipairs(call('ZRANGEBYSCORE', P .. 'l:' .. topic, '-inf', text(NOW), 'LIMIT', 0, 1000)) do
    leave(topic, lease)
  end
end

local function enter(topic, lease, seconds)
  local member = string.match(lease, '^[^ ]+ (.*)$')
  local new = call('ZADD', P .. 'l:' .. topic, text(NOW + seconds * 1000), lease)
  if new == 1 and call('HINCRBY', P .. 'c:' .. topic, member, 1) == 1 then
    emit('p:' .. topic, '', 'join', 't', member)
  end
end
"""

PUBLISH: Final = """
local log, token = ARGV[6], ARGV[7]
local known = call('GET', P .. 't:' .. token)
if known then return {state()[1], known} end
local n = emit(log, token, ARGV[8], ARGV[9], ARGV[10])
call('SET', P .. 't:' .. token, text(n), 'EX', 10)
return {state()[1], text(n)}
"""
"""Arguments: log, token, event, kind, data. Returns the epoch and the number."""

LOOK: Final = """
local found = {}
for index = 6, #ARGV do
  local log = ARGV[index]
  found[#found + 1] = {call('HGET', P .. 'm:' .. log, 'count') or '0', text(floor_of(log))}
end
return {state(), text(NOW), found}
"""
"""Arguments: logs. Returns the state, the time, and the count and the floor of each log."""

FETCH: Final = """
local after, count, bytes, found = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), {}
local function page(log, first)
  local kept, size, step = {}, 0, 1
  while true do
    local some = call('XRANGE', P .. log, text(first), '+', 'COUNT', step)
    for _, entry in ipairs(some) do
      kept[#kept + 1] = entry
      size = size + #entry[2][12] + 64
      if #kept == count or size >= bytes then return kept, 1 end
    end
    if #some < step then return kept, 0 end
    first, step = number(some[step][1]) + 1, step * 2
  end
end
for index = 9, #ARGV do
  local log = ARGV[index]
  local floor = floor_of(log)
  found[#found + 1] = {text(floor), page(log, math.max(after, floor) + 1)}
end
return {state(), found}
"""
"""Arguments: a number, how many, their bytes, and logs. Returns the state, and of each log its floor, the next entries,
and 1 if there may be more.
"""

VERIFY: Final = """
local epoch, log, n, token = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local now = state()
if now[1] == epoch and n ~= '0' then
  local entry = call('XRANGE', P .. log, n, n)[1]
  if not entry or entry[2][6] ~= token then begin(NEW, math.max(tonumber(n), tonumber(now[3]))) end
end
return 1
"""
"""Arguments: epoch, and log, number and token of the newest event that is known. Without it some events are lost, and
another epoch begins.
"""

ENTER: Final = """
for index = 7, #ARGV, 2 do enter(ARGV[index], ARGV[index + 1], tonumber(ARGV[6])) end
for index = 7, #ARGV, 2 do sweep(ARGV[index]) end
return 1
"""
"""Arguments: seconds, and pairs of a topic and a lease. Begins or renews leases, and ends others that are over."""

LEAVE: Final = """
leave(ARGV[6], ARGV[7])
return 1
"""
"""Arguments: a topic and a lease."""

MEMBERS: Final = """
sweep(ARGV[6])
return call('HKEYS', P .. 'c:' .. ARGV[6])
"""
"""Arguments: a topic."""

WAKE: Final = """
call('XADD', P .. 'w:' .. ARGV[6], 'MAXLEN', 1, '*', 'x', '')
call('EXPIRE', P .. 'w:' .. ARGV[6], 60)
return 1
"""
"""Arguments: a worker, whose reader wakes to read more logs."""

ALL: Final = (PUBLISH, LOOK, FETCH, VERIFY, ENTER, LEAVE, MEMBERS, WAKE)
