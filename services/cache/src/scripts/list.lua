-- KEYS: values, leases, values, leases, ... ARGV: now, bytes before the JSON.
-- Answers, for each pair: how many variants, when the youngest was stored, until when the freshest is fresh, until when any is
-- kept, bytes of JSON, how many of them are remembered absences, milliseconds that a lease on it lasts.
local now, head = tonumber(ARGV[1]), tonumber(ARGV[2])
local answer = {}
for index = 1, #KEYS, 2 do
  local variants, stored, fresh, kept, bytes, absent, left = 0, 0, 0, 0, 0, 0, 0
  for _, variant in ipairs(redis.call('HKEYS', KEYS[index])) do
    local value = redis.call('HGET', KEYS[index], variant)
    local function time(at)
      return tonumber(string.sub(value, at, at + 12)) or 0
    end
    variants = variants + 1
    stored = math.max(stored, time(1))
    fresh = math.max(fresh, time(14))
    kept = math.max(kept, time(14), time(27), time(40))
    bytes = bytes + string.len(value) - head
    if string.sub(value, head - 2, head) == '404' then
      absent = absent + 1
    end
  end
  for _, lease in ipairs(redis.call('HVALS', KEYS[index + 1])) do
    left = math.max(left, (tonumber(string.sub(lease, 1, 13)) or 0) - now)
  end
  for _, figure in ipairs({variants, stored, fresh, kept, bytes, absent, left}) do
    answer[#answer + 1] = figure
  end
end
return answer
