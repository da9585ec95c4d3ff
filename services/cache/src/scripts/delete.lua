-- Deletes keys with all their variants, voids all their leases, and announces it.
-- KEYS: holders, values, leases, values, leases, ... ARGV: now, channel, key, key, ...
-- Answers {announcement, {numbers of the keys that had a fresh value, the first being 1}}.
local now = tonumber(ARGV[1])
local found = {}
for index = 2, #KEYS, 2 do
  for _, variant in ipairs(redis.call('HKEYS', KEYS[index])) do
    local value = redis.call('HGET', KEYS[index], variant)
    if (tonumber(string.sub(value, 14, 26)) or 0) > now then
      found[#found + 1] = index / 2
      break
    end
  end
  redis.call('UNLINK', KEYS[index], KEYS[index + 1])
end
return {announce(KEYS[1], ARGV[2], '\n' .. table.concat(ARGV, '\n', 3)), found}
