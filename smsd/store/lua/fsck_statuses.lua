-- fsck_statuses: messages that by their status are waiting or dead, and are nowhere.
-- include: damage, entries, fields, status
-- takes: ids, repair
-- keys: status*
-- answers: {{id, what its status says}, ...}
-- changes: status, finished, events, campaign, campaigns_active, contacts
--
-- What its status says is 'foreign' for one that is none. Mended: recorded as lost, or removed.

local function is_there(id, status)
  if wrong_type(status, 'hash') then return 'foreign', false end
  local state, name, letter = unpack(redis.call('HMGET', status, 'state', 'entry', 'letter'))
  if state == 'deferred' then
    return state, redis.call('ZSCORE', DEFERRED, id) or redis.call('HGET', MESSAGES, id)
  elseif state == 'dead' then
    return state, entry_of(DEAD, letter or '')
  elseif state == 'queued' then
    name = name or first_entry(id)
    local fields = entry_of(stream_of(name))
    return state, fields and (field_of(fields, 'id') or id_after(name)) == id
  end
  return state, true
end

local function run(request, keys)
  local lost = {}
  need(DEFERRED, MESSAGES, DEAD, QUEUE, HIGH)
  for i, id in ipairs(request.ids) do
    local status = keys[i]
    local state, there = is_there(id, status)
    if not there then
      lost[#lost + 1] = {id, state}
      if request.repair and state == 'foreign' then
        redis.call('DEL', status)
      elseif request.repair then
        record(status, id, 'lost', NOW .. ' lost it was ' .. state .. ' and is nowhere', 'fsck')
        redis.call('PEXPIRE', status, KEEP_STATUS)
      end
    end
  end
  return lost
end
