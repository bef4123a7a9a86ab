-- _run: answer each request of a group, whatever became of the others. It stands after every script.
-- include: damage, identity
--
-- The script defines `run(request, keys)`; `keys` are those that the request brought. A request that fails must not
-- undo what the others did, nor keep it from being written.

-- `unpack` hands over some 8,000 at most; a request to 10,000 recipients has a key for each.
local function keys_between(first, last)
  local keys = {}
  for i = first, last do keys[#keys + 1] = KEYS[i] end
  return keys
end

local replies, key_at = {}, COMMON
for i, call in ipairs(CALLS) do
  local many, request = unpack(call)
  local done, reply = pcall(run, request, keys_between(key_at + 1, key_at + many))
  if not done then reply = failure(reply) end
  replies[i] = reply
  key_at = key_at + many
end
for _, write in ipairs(at_end) do write(replies) end
replies[#replies + 1] = identity()
return replies
