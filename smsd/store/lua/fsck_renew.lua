-- fsck_renew: make a stream anew whose ids have run out, which Redis forgives no other way.
-- include: damage, entries, fields, last_ids, status
-- takes: most, spent
-- keys: any, any, status*
-- answers: renewed | sound | long | marked | changed
-- changes: queue, high, dead, status, finished, events, campaign, campaigns_active, contacts
--
-- All in one step, of `most` entries. Keys: the stream; where it is built; the status of each entry whose id leaves no
-- room behind it, which `spent` names. Those get a new id each; the others keep theirs, and the group what it has
-- claimed. 'marked': one of them is being sent. 'changed': ask again.

local function pages(stream, from, to, act)
  while from do
    local page = redis.call('XRANGE', stream, from, to, 'COUNT', 100)
    for _, entry in ipairs(page) do act(entry) end
    from = #page == 100 and '(' .. page[100][1]
  end
end

local function initial_of(stream) return stream == HIGH and 'h' or stream == QUEUE and 'n' end

local function obstacle(request, stream, spent)
  if redis.call('XLEN', stream) > request.most then return 'long' end
  if #spent ~= #request.spent then return 'changed' end
  for i, entry in ipairs(spent) do
    if entry[1] ~= request.spent[i] then return 'changed' end
    local initial = initial_of(stream)
    if initial and redis.pcall('HEXISTS', INFLIGHT, initial .. entry[1]) ~= 0 then return 'marked' end
  end
end

-- The group as it was, but that it has not been handed out what gets a new id.
local function copy_group(stream, anew, last_kept)
  local made = false
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local name, delivered = field_of(group, 'name'), field_of(group, 'last-delivered-id')
    redis.call('XGROUP', 'CREATE', anew, name, is_spent(delivered) and last_kept or delivered, 'MKSTREAM')
    made = made or name == GROUP
  end
  if not made then return end
  local start = '-'
  while start do
    local page = redis.call('XPENDING', stream, GROUP, start, '+', 100)
    for _, row in ipairs(page) do
      if not is_spent(row[1]) then redis.call('XCLAIM', anew, GROUP, CONSUMER, 0, row[1], 'FORCE', 'JUSTID') end
    end
    start = #page == 100 and page[100][1] ~= LAST_ID and '(' .. page[100][1]
  end
end

-- Its message keeps its id, and a look-up finds it in its new place.
local function move(entry, stream, anew, status)
  local initial, fields = initial_of(stream), entry[2]
  if not initial then
    local id = redis.call('XADD', anew, '*', unpack(fields))
    if stream == DEAD and redis.pcall('HGET', status, 'letter') == entry[1] then
      redis.call('HSET', status, 'letter', id)
    end
    return
  end
  local id = field_of(fields, 'id') or id_after(initial .. entry[1])
  local kept = append_all(without(fields, {'id'}), {'id', id})
  local name = initial .. redis.call('XADD', anew, '*', unpack(kept))
  record(status, id, 'queued', NOW .. ' queued moved', 'moved', {'entry', name})
end

local function run(request, keys)
  local stream, anew = keys[1], keys[2]
  need(stream)
  if not are_ids_spent(stream) then return 'sound' end
  local spent = redis.call('XRANGE', stream, FIRST_SPENT, '+')
  local why_not = obstacle(request, stream, spent)
  if why_not then return why_not end
  redis.call('DEL', anew)
  local last = '0-0'
  pages(stream, '-', '(' .. FIRST_SPENT, function(entry)
    last = redis.call('XADD', anew, entry[1], unpack(entry[2]))
  end)
  copy_group(stream, anew, last)
  local added = field_of(redis.call('XINFO', 'STREAM', stream), 'entries-added')
  for i, entry in ipairs(spent) do move(entry, stream, anew, keys[i + 2]) end
  if redis.call('EXISTS', anew) == 1 and added then
    redis.call('XSETID', anew, last_id_of(anew), 'ENTRIESADDED', added)
  end
  redis.call('DEL', stream)
  if redis.call('EXISTS', anew) == 1 then redis.call('RENAME', anew, stream) end
  return 'renewed'
end
