-- Deletes keys with all their variants and voids all their leases.
-- KEYS: values, leases, values, leases, ... ARGV: now, channel, key, key, ... Answers how many had a fresh value.
local now = tonumber(ARGV[1])
local found = 0
for index = 1, #KEYS, 2 do
  for _, variant in ipairs(redis.call('HKEYS', KEYS[index])) do
    local value = redis.call('HGET', KEYS[index], variant)
    if (tonumber(string.sub(value, 14, 26)) or 0) > now then
      found = found + 1
      break
    end
  end
  redis.call('UNLINK', KEYS[index], KEYS[index + 1])
  redis.call('PUBLISH', ARGV[2], ARGV[2 + (index + 1) / 2])
end
return found
