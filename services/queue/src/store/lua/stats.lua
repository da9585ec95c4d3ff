-- Gives depth, in flight, delayed, dead, oldest age in ms, sent, received, acknowledged, redelivered, died, then the
-- settings max_deliveries, visibility_ms, max_depth and dedupe_ms, '' where the service's own holds.
local leases, delayed = redis.call('ZCARD', LEASES), redis.call('ZCARD', DELAYED)
local expired = redis.call('ZCOUNT', LEASES, '-inf', integer(now))
local due = redis.call('ZCOUNT', DELAYED, '-inf', integer(now))
local age = 0
local cursor = redis.call('HGET', META, 'cursor') or '0-0'
local ready = redis.call('XRANGE', STREAM, '(' .. cursor, '+', 'COUNT', 1)
if #ready > 0 then
    age = now - tonumber(ready[1][2][4])
end
for _, set in ipairs({ LEASES, DELAYED }) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if #first > 0 then
        age = math.max(age, now - tonumber(first[2]))
    end
end
local reply = {
    redis.call('XLEN', STREAM) - leases + expired + delayed, leases - expired, delayed - due, redis.call('XLEN', DEAD), age,
}
for _, name in ipairs({ 'sent', 'received', 'acknowledged', 'redelivered', 'died' }) do
    reply[#reply + 1] = setting(name, 0)
end
for _, name in ipairs({ 'max_deliveries', 'visibility_ms', 'max_depth', 'dedupe_ms' }) do
    reply[#reply + 1] = setting(name, -1)
end
return reply
