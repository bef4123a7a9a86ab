
local replies, key_at = {}, 11
for i = 5, #ARGV do
  local count, request = unpack(cjson.decode(ARGV[i]))
  replies[i - 4] = run(request, {unpack(KEYS, key_at + 1, key_at + count)})
  key_at = key_at + count
end
return replies
