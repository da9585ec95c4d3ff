-- Takes holders out of the table who have not renewed since they were seen.
-- KEYS: holders. ARGV: holder, the renewal that was seen, holder, ... Answers how many went.
local gone = 0
for index = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[index]) == ARGV[index + 1] then
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[index])
  end
end
return gone
