-- KEYS: queue, names. ARGV from 3: name, most queues, then pairs of a setting and its value, '' to forget it. Gives 'ok', or
-- 'queues' and their limit.
local name, most_queues = ARGV[3], tonumber(ARGV[4])
if redis.call('SISMEMBER', KEYS[2], name) == 0 then
    if redis.call('SCARD', KEYS[2]) >= most_queues then
        return { class, 'queues', most_queues }
    end
    redis.call('SADD', KEYS[2], name)
end
for at = 5, #ARGV, 2 do
    if ARGV[at + 1] == '' then
        redis.call('HDEL', META, ARGV[at])
        if ARGV[at] == 'paused' then
            wake(1000)
        end
    else
        redis.call('HSET', META, ARGV[at], ARGV[at + 1])
    end
end
return { class, 'ok' }
