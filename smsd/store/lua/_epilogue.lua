
-- Shared by every script, after its own part. Rule: each request is answered, whatever became of the others.
--
-- One that fails must not undo what the others did, nor keep it from being written.

-- `unpack` hands over some 8,000 at most; a request to 10,000 recipients has a key for each.
local function keys_between(first, last)
  local keys = {}
  for i = first, last do keys[#keys + 1] = KEYS[i] end
  return keys
end

-- Settlements are numbered, so that it shows how many of them older data lacks; that keeps its number until a daemon
-- has settled those again.
local function number_settlements(replies)
  local settled = removed
  for _, reply in ipairs(replies) do
    if reply == 'settled' then settled = settled + 1 end
  end
  if settled > 0 and not is_older() then redis.pcall('HINCRBY', STORE, 'settled', settled) end
end

local replies, key_at = {}, COMMON
for i, call in ipairs(CALLS) do
  local many, request = unpack(call)
  local done, reply = pcall(run, request, keys_between(key_at + 1, key_at + many))
  if not done then reply = failure(reply) end
  replies[i] = reply
  key_at = key_at + many
end
write_together()
number_settlements(replies)
replies[#replies + 1] = identity()
return replies
