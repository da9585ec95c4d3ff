-- ARGV: receipt, visibility in ms. Gives 1, or 0 when late.
local entry = fenced(ARGV[1])
if not entry then
    return 0
end
redis.call('ZADD', LEASES, integer(now + tonumber(ARGV[2])), entry)
return 1
