-- Looks for a fresh value; takes the lease to rebuild it when there is none, or it is wanted early, and nobody else holds it.
-- KEYS: values, leases. ARGV: variant, now, token, lease in milliseconds, '1' to rebuild a fresh value.
-- Answers {0 fresh | 1 granted | 2 busy, milliseconds the other's lease lasts, value or ''}.
local now = tonumber(ARGV[2])
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value then
  if (tonumber(string.sub(value, 14, 26)) or 0) > now then
    if ARGV[5] ~= '1' then
      return {0, 0, value}
    end
  elseif math.max(tonumber(string.sub(value, 27, 39)) or 0, tonumber(string.sub(value, 40, 52)) or 0) <= now then
    value = ''
  end
else
  value = ''
end
local lease = redis.call('HGET', KEYS[2], ARGV[1])
if lease then
  local left = (tonumber(string.sub(lease, 1, 13)) or 0) - now
  if left > 0 then
    return {2, left, value}
  end
end
redis.call('HSET', KEYS[2], ARGV[1], string.format('%013d', now + tonumber(ARGV[4])) .. ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {1, 0, value}
