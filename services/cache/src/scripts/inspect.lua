-- KEYS: values. ARGV: bytes before the JSON. Answers, for each, until when its freshest variant is fresh and how many bytes of
-- JSON it holds.
local answer = {}
for _, key in ipairs(KEYS) do
  local fresh, bytes = 0, 0
  for _, variant in ipairs(redis.call('HKEYS', key)) do
    local value = redis.call('HGET', key, variant)
    fresh = math.max(fresh, tonumber(string.sub(value, 14, 26)) or 0)
    bytes = bytes + string.len(value) - tonumber(ARGV[1])
  end
  answer[#answer + 1] = fresh
  answer[#answer + 1] = bytes
end
return answer
