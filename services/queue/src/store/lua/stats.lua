-- Gives depth, in flight, delayed, waiting behind their ordering key, dead, bytes, oldest age in ms, whether it is paused,
-- sent, received, acknowledged, redelivered, died, then the settings in the order below, -1 where the service's own holds.
local leases, delayed = redis.call('ZCARD', LEASES), redis.call('ZCARD', DELAYED)
local waiting = redis.call('ZCARD', WAITING)
local expired = redis.call('ZCOUNT', LEASES, '-inf', integer(now))
local due = redis.call('ZCOUNT', DELAYED, '-inf', integer(now))
local age = 0
local cursor = redis.call('HGET', META, 'cursor') or '0-0'
local ready = redis.call('XRANGE', STREAM, '(' .. cursor, '+', 'COUNT', 1)
if #ready > 0 then
    age = now - tonumber(string.match(ready[1][1], '^%d+'))
end
for _, set in ipairs({ LEASES, DELAYED }) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if #first > 0 then
        age = math.max(age, now - tonumber(first[2]))
    end
end
local reply = {
    class,
    held_in_stream() - leases + expired + delayed + waiting, leases - expired, delayed - due, waiting,
    redis.call('XLEN', DEAD), setting('bytes', 0), age, setting('paused', 0),
}
for _, name in ipairs({ 'sent', 'received', 'acknowledged', 'redelivered', 'died' }) do
    reply[#reply + 1] = setting(name, 0)
end
for _, name in ipairs({
    'max_deliveries', 'max_crashes', 'visibility_ms', 'max_depth', 'max_bytes', 'max_age_ms', 'dedupe_ms', 'backoff_ms',
    'backoff_limit_ms', 'fast',
}) do
    reply[#reply + 1] = setting(name, -1)
end
return reply
