-- What all scripts share. Each runs as one step, so that a message is always in exactly one place:
--   :stream   entries ready or delivered; those behind meta.cursor were never delivered
--   :leases   delivered entries by the time their visibility ends
--   :held     of delivered entries: the delivery's number (the fence), size, crashes and ordering key
--   :delayed  ids of messages for later by the time they are due
--   :waiting  KEY \0 PLACE \0 ID of messages behind another one with their ordering key
--   :parked   the messages of :delayed and :waiting themselves
--   :busy     ordering keys whose foremost message is in :stream, or given back for later
--   :dead     messages given up                 :history  what happened to entries before
-- An entry's fields are m (id, sent at in ms, deliveries before, redrives, crashes, failures, ordering key) and b (body).
-- ARGV[1] is '1' when what is answered can be confirmed to be on disk, ARGV[2] is '1' when queues are fast by default.
-- Every answer begins with the queue's class: '0' durable, '1' fast, 'weak' when it is durable and cannot be: then nothing
-- was done.
local q = KEYS[1]
local STREAM, LEASES, HELD = q .. ':stream', q .. ':leases', q .. ':held'
local DELAYED, PARKED = q .. ':delayed', q .. ':parked'
local WAITING, BUSY = q .. ':waiting', q .. ':busy'
local DEAD, HISTORY, META = q .. ':dead', q .. ':history', q .. ':meta'
local EPISODES = 20

local class = redis.call('HGET', META, 'fast') or ARGV[2]
if class == '0' and ARGV[1] == '0' then
    return { 'weak' }
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function integer(n)
    return string.format('%.0f', n)
end

local function setting(name, default)
    return tonumber(redis.call('HGET', META, name) or default)
end

local function count(name, by)
    if by ~= 0 then
        redis.call('HINCRBY', META, name, by)
    end
end

local function wake(by)
    if by > 0 then
        redis.call('PUBLISH', 'queue:wake', string.match(q, '{(.*)}') .. ':' .. by)
    end
end

-- The words of an entry's first field: id, sent at, deliveries, redrives, crashes, failures, ordering key.
local WORDS = '^(%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S*)$'

local function message(fields)
    local i, t, n, r, c, f, k = string.match(fields[2], WORDS)
    return {
        i = i, t = t, n = tonumber(n), r = tonumber(r), c = tonumber(c), f = tonumber(f), k = k, b = fields[4],
    }
end

local function words(m)
    return string.format('%s %s %d %d %d %d %s', m.i, m.t, m.n, m.r, m.c, m.f, m.k)
end

-- Puts a message at the end of the ready ones.
local function add(m)
    local entry = redis.call('XADD', STREAM, '*', 'm', words(m), 'b', m.b)
    if m.h then
        redis.call('HSET', HISTORY, entry, m.h)
    end
end

-- Puts a message among the ready ones, or behind the others with its ordering key. Gives 1 when it is ready.
local function enter(m)
    if m.k ~= '' and redis.call('HSETNX', BUSY, m.k, 1) == 0 then
        local place = string.format('%016.0f', redis.call('HINCRBY', META, 'place', 1))
        redis.call('ZADD', WAITING, 0, m.k .. '\0' .. place .. '\0' .. m.i)
        redis.call('HSET', PARKED, m.i, cmsgpack.pack(m))
        return 0
    end
    add(m)
    return 1
end

-- The foremost message with this ordering key has ended: the next one's turn. Gives 1 when there is one.
local function advance(k)
    if k == '' then
        return 0
    end
    local found = redis.call('ZRANGEBYLEX', WAITING, '[' .. k .. '\0', '(' .. k .. '\1', 'LIMIT', 0, 1)
    if #found == 0 then
        redis.call('HDEL', BUSY, k)
        return 0
    end
    redis.call('ZREM', WAITING, found[1])
    local id = string.sub(found[1], #k + 19)
    local packed = redis.call('HGET', PARKED, id)
    redis.call('HDEL', PARKED, id)
    if not packed then
        return advance(k)
    end
    add(cmsgpack.unpack(packed))
    return 1
end

-- Keeps a message for later. One that is `foremost` keeps the others with its ordering key waiting.
local function park(m, due, foremost)
    m.foremost = foremost
    redis.call('ZADD', DELAYED, integer(due), m.i)
    redis.call('HSET', PARKED, m.i, cmsgpack.pack(m))
end

-- Makes what is due ready, so many at most. Gives how many became ready.
local function promote(most)
    local ready = 0
    local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', integer(now), 'LIMIT', 0, most)
    if #due == 0 then
        return 0
    end
    local parked = redis.call('HMGET', PARKED, unpack(due))
    redis.call('ZREM', DELAYED, unpack(due))
    redis.call('HDEL', PARKED, unpack(due))
    for _, packed in ipairs(parked) do
        if packed then
            local m = cmsgpack.unpack(packed)
            if m.foremost then
                m.foremost = nil
                add(m)
                ready = ready + 1
            else
                ready = ready + enter(m)
            end
        end
    end
    return ready
end

-- What is known of a delivered entry: delivery, size, crashes, ordering key.
local function parse(held)
    local d, size, c, k = string.match(held, '^(%d+) (%d+) (%d+) (%S*)$')
    return { d = tonumber(d), size = tonumber(size), c = tonumber(c), k = k }
end

local function fetch(entry)
    local found = redis.call('XRANGE', STREAM, entry, entry)
    if #found == 0 then
        return nil
    end
    local m = message(found[1][2])
    m.h = redis.call('HGET', HISTORY, entry) or nil
    return m
end

-- Ends the stay of entries among the ready and delivered ones; at least one, at most a few hundred.
local function remove(entries)
    redis.call('XDEL', STREAM, unpack(entries))
    redis.call('ZREM', LEASES, unpack(entries))
    redis.call('HDEL', HELD, unpack(entries))
    redis.call('HDEL', HISTORY, unpack(entries))
end

local function note(m, delivery, event, reason)
    local episodes = m.h and cjson.decode(m.h) or {}
    episodes[#episodes + 1] = { d = delivery, at = now, e = event, r = reason }
    if #episodes > EPISODES then
        table.remove(episodes, 1)
    end
    m.h = cjson.encode(episodes)
end

-- Gives a message up. It no longer counts among those that the queue holds.
local function bury(m, reason)
    redis.call('XADD', DEAD, '*', 'm', words(m), 'b', m.b, 'a', integer(now), 'w', reason, 'h', m.h or '[]')
    count('died', 1)
    count('bytes', -#m.b)
end

-- What is known of the delivery that a receipt stands for, if it is still good: ARGV[at] is the entry, the next one the
-- delivery's number.
local function fenced(at)
    local held = redis.call('HGET', HELD, ARGV[at])
    if held then
        held = parse(held)
        if not FENCED or integer(held.d) == ARGV[at + 1] then
            return ARGV[at], held
        end
    end
    return nil
end
