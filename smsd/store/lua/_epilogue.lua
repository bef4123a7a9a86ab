
local replies, key_at = {}, 11
for i, call in ipairs(cjson.decode(ARGV[5])) do
  local count, request = unpack(call)
  replies[i] = run(request, {unpack(KEYS, key_at + 1, key_at + count)})
  key_at = key_at + count
end
return replies
