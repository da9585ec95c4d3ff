-- ARGV from 3: visibility in ms, entry, delivery. Gives 1, or 0 when late.
local entry = fenced(4)
if not entry then
    return { class, 0 }
end
redis.call('ZADD', LEASES, integer(now + tonumber(ARGV[3])), entry)
return { class, 1 }
