"""The scripts of a ``RedisHub``: each runs as a whole, so that events are numbered in the order in which they are kept.

Keys, behind the prefix of the hub:

* ``state``: a hash with the epoch, its first number, and the number of the newest event.
* ``feed``: a stream with the log and the number of each event, and, without a log, the first number of each epoch.
* ``e:TOPIC`` and ``p:TOPIC``: the two logs of a topic, streams whose ids are the numbers. An entry has its time, its
  token, the name of the event, the kind of its data, and these.
* ``m:`` and a log: a hash with the numbers of the newest entry and of the last one that is not kept, and their bytes.
* ``t:`` and a token: the number of a published event, for a publisher that has lost the reply.
* ``l:TOPIC``: a sorted set of leases by the time of their end; ``c:TOPIC``: a hash of members with their leases.
"""

from __future__ import annotations

from typing import Final

FEED: Final = "feed"
"""The key of the feed."""

COMMON: Final = """
local P, NEW, HISTORY, SECONDS, BYTES = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local call = redis.call
local function text(number) return string.format('%.0f', number) end
local function number(id) return tonumber(string.match(id, '^%d+')) end
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function tell(log, n) call('XADD', P .. 'feed', 'MAXLEN', '~', 10000, '*', 'l', log, 'n', text(n)) end
local function begin(epoch, base)
  call('HSET', P .. 'state', 'epoch', epoch, 'base', text(base), 'n', text(base))
  tell('', base)
end
if not call('HGET', P .. 'state', 'epoch') then begin(NEW, 0) end
local function state() return call('HMGET', P .. 'state', 'epoch', 'base', 'n') end

local function drop(log, entry)
  call('XDEL', P .. log, entry[1])
  call('HSET', P .. 'm:' .. log, 'lost', text(number(entry[1])))
  if BYTES >= 0 then call('HINCRBY', P .. 'm:' .. log, 'bytes', -(#entry[2][10] + 64)) end
end

local function trim(log)
  while true do
    local entry = call('XRANGE', P .. log, '-', '+', 'COUNT', 1)[1]
    if not entry then return end
    local length = call('XLEN', P .. log)
    local old = SECONDS >= 0 and tonumber(entry[2][2]) <= NOW - SECONDS * 1000
    local bytes = BYTES >= 0 and tonumber(call('HGET', P .. 'm:' .. log, 'bytes')) > BYTES
    if length <= math.max(HISTORY, 100) and not old and not (bytes and length > 1) then return end
    drop(log, entry)
  end
end

local function emit(log, token, event, kind, data)
  local n = call('HINCRBY', P .. 'state', 'n', 1)
  call('HSET', P .. 'm:' .. log, 'newest', text(n))
  call('XADD', P .. log, text(n) .. '-0', 't', text(NOW), 'u', token, 'e', event, 'k', kind, 'd', data)
  tell(log, n)
  if BYTES >= 0 then call('HINCRBY', P .. 'm:' .. log, 'bytes', #data + 64) end
  trim(log)
  if SECONDS >= 0 then call('PEXPIRE', P .. log, text(SECONDS * 1000 + 60000)) end
  return n
end

-- The number of the newest entry that is no history any more; for the readers at least a hundred are kept.
local function floor_of(log, history)
  trim(log)
  local known = call('HMGET', P .. 'm:' .. log, 'lost', 'newest')
  if call('EXISTS', P .. log) == 0 then return tonumber(known[2] or '0') end
  if history < 100 then
    local page = call('XREVRANGE', P .. log, '+', '-', 'COUNT', history + 1)
    if #page > history then return number(page[history + 1][1]) end
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
return {state(), text(NOW)}
"""
"""Returns the state and the time."""

FETCH: Final = """
local count, bytes, found = tonumber(ARGV[6]), tonumber(ARGV[7]), {}
local history = ARGV[8] == 'all' and 100 or HISTORY
local function page(log, first)
  local kept, size, step = {}, 0, 1
  while true do
    local some = call('XRANGE', P .. log, text(first), '+', 'COUNT', step)
    for _, entry in ipairs(some) do
      kept[#kept + 1] = entry
      size = size + #entry[2][10] + 64
      if #kept == count or size >= bytes then return kept, 1 end
    end
    if #some < step then return kept, 0 end
    first, step = number(some[step][1]) + 1, step * 2
  end
end
for index = 9, #ARGV, 2 do
  local log = ARGV[index]
  local floor = floor_of(log, history)
  found[#found + 1] = {text(floor), page(log, math.max(tonumber(ARGV[index + 1]), floor) + 1)}
end
return {state(), found}
"""
"""Arguments: how many, their bytes, "all" or only "history", and pairs of a log and a number. Returns the state, and of
each log its floor, the next entries after that number, and 1 if there may be more.
"""

VERIFY: Final = """
local epoch, log, n, token = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local now = state()
if now[1] == epoch and n ~= '0' then
  local entry = call('XRANGE', P .. log, n, n)[1]
  if not entry or entry[2][4] ~= token then begin(NEW, math.max(tonumber(n), tonumber(now[3]))) end
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

ALL: Final = (PUBLISH, LOOK, FETCH, VERIFY, ENTER, LEAVE, MEMBERS)
