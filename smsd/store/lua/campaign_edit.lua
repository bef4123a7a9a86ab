-- campaign_edit: another weight, another expiry, for a campaign that has not ended.
-- include: damage, events, full, verbs
-- takes: campaign, from, fields, by
-- keys: campaign
-- answers: absent | changed | same | {'wrong', its state}
-- changes: campaign, events
--
-- `from`: the states in which it may be. `fields` is a flat list of names and values.

local function is_same(campaign, fields)
  for i = 1, #fields, 2 do
    if redis.call('HGET', campaign, fields[i]) ~= fields[i + 1] then return false end
  end
  return true
end

local function run(request, keys)
  local campaign = keys[1]
  need_hash(campaign)
  local state = redis.call('HGET', campaign, 'state')
  if not state then return 'absent' end
  if not is_among(state, request.from) then return {'wrong', state} end
  if is_same(campaign, request.fields) then return 'same' end
  allow_writes_while_full()
  redis.call('HSET', campaign, unpack(request.fields))
  announce_act(request.campaign, 'edited', table.concat(request.fields, ' '), request.by)
  return 'changed'
end
