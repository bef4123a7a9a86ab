-- fsck_set_aside: what other hands put at a key of ours is kept under another name.
-- include: damage, entries, fields, unknown_attempt
-- takes: kind, holds
-- keys: any, any
-- answers: aside | sound
-- changes: any
--
-- Keys: that key, the other. What stood where an operator holds dispatch held it: it goes on doing so, until a release.
-- Where the in-flight records were, whatever is claimed may have been sent: it is marked so that recovery finds it
-- in doubt.

local function mark_all(initial, stream)
  if wrong_type(stream, KIND[stream]) then return end
  local start = '-'
  while true do
    local page = redis.pcall('XPENDING', stream, GROUP, start, '+', MOST_VALUES)
    for _, row in ipairs(page) do
      local fields = entry_of(stream, row[1])
      if fields then redis.call('HSET', INFLIGHT, initial .. row[1], unknown_attempt(fields)) end
    end
    if #page < MOST_VALUES then return end
    start = '(' .. page[#page][1]
  end
end

local function run(request, keys)
  local key, aside = keys[1], keys[2]
  if not wrong_type(key, request.kind) then return 'sound' end
  redis.call('RENAME', key, aside)
  if request.holds then redis.call('HSET', key, 'reason', 'set aside: ' .. aside, 'by', 'fsck', 'since', NOW) end
  if key == INFLIGHT then
    mark_all('h', HIGH)
    mark_all('n', QUEUE)
  end
  return 'aside'
end
