-- What all scripts share. Each runs as one step, so that a message is always in exactly one place:
--   :stream   entries ready or delivered; those behind meta.cursor were never delivered
--   :leases   delivered entries by the time their visibility ends        :held     their delivery numbers, the fence
--   :delayed  ids of messages for later by the time they are due         :parked   the messages themselves
--   :dead     messages given up                                          :history  what happened to entries before
-- An entry's fields are i (id), t (sent at, ms), n (deliveries before), r (redrives), b (body).
local q = KEYS[1]
local STREAM, LEASES, HELD = q .. ':stream', q .. ':leases', q .. ':held'
local DELAYED, PARKED = q .. ':delayed', q .. ':parked'
local DEAD, HISTORY, META = q .. ':dead', q .. ':history', q .. ':meta'
local EPISODES = 20

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function integer(n)
    return string.format('%.0f', n)
end

local function setting(name, default)
    return tonumber(redis.call('HGET', META, name) or default)
end

local function count(name, by)
    if by > 0 then
        redis.call('HINCRBY', META, name, by)
    end
end

local function wake(by)
    if by > 0 then
        redis.call('PUBLISH', 'queue:wake', string.match(q, '{(.*)}') .. ':' .. by)
    end
end

local function message(fields)
    return { i = fields[2], t = fields[4], n = tonumber(fields[6]), r = tonumber(fields[8]), b = fields[10] }
end

local function fetch(entry)
    local found = redis.call('XRANGE', STREAM, entry, entry)
    if #found == 0 then
        return nil
    end
    local m = message(found[1][2])
    m.h = redis.call('HGET', HISTORY, entry)
    return m
end

-- Puts a message at the end of the ready ones.
local function add(m)
    local entry = redis.call('XADD', STREAM, '*', 'i', m.i, 't', m.t, 'n', m.n, 'r', m.r, 'b', m.b)
    if m.h then
        redis.call('HSET', HISTORY, entry, m.h)
    end
end

local function park(m, due)
    redis.call('ZADD', DELAYED, integer(due), m.i)
    redis.call('HSET', PARKED, m.i, cmsgpack.pack(m))
end

-- Ends an entry's stay among the ready and delivered ones.
local function remove(entry)
    redis.call('XDEL', STREAM, entry)
    redis.call('ZREM', LEASES, entry)
    redis.call('HDEL', HELD, entry)
    redis.call('HDEL', HISTORY, entry)
end

local function note(m, delivery, event, reason)
    local episodes = m.h and cjson.decode(m.h) or {}
    episodes[#episodes + 1] = { d = delivery, at = now, e = event, r = reason }
    if #episodes > EPISODES then
        table.remove(episodes, 1)
    end
    m.h = cjson.encode(episodes)
end

local function bury(m, reason)
    redis.call('XADD', DEAD, '*', 'i', m.i, 't', m.t, 'n', m.n, 'r', m.r, 'b', m.b,
        'a', integer(now), 'w', reason, 'h', m.h or '[]')
    count('died', 1)
end

-- The entry and delivery number of a receipt that is still good.
local function fenced(receipt)
    local entry, delivery = string.match(receipt, '^(%d+%-%d+)%.(%d+)$')
    if entry and redis.call('HGET', HELD, entry) == delivery then
        return entry, tonumber(delivery)
    end
    return nil
end
