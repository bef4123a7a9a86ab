-- defer: out of the stream, into the deferred messages, until `due`, without the fields named in `dropped`.
-- include: campaign, damage, entries, fields, settle, settle_again, status
-- takes: name, mark, id, due?, campaign?, priority, line, detail, look_up, dropped, attempts?, again?
-- keys: status, status, campaign_held?
-- answers: settled | gone | marked
-- changes: queue, high, deferred, deferred_messages, inflight, status, finished, events, store, campaign,
--   campaign_held, campaigns_active, contacts
--
-- The second status is that of the id which the message has if no earlier entry held it.
-- Without `attempts` it has never been sent. Without `due` it is due when its `campaign` is not paused any more.

local NEVER = '+inf'

-- When it is due, and its recipient's state.
local function place_of(request)
  if request.due then return request.due, 'deferred' end
  local campaign = campaign_named(request.campaign)
  local waits = campaign and (campaign.state == 'paused' or campaign.state == 'cancelled')
  return waits and NEVER or NOW, waits and 'held' or 'deferred' -- it may have been resumed since it was asked about
end

local function run(request, keys)
  local id, status = request.id, keys[1]
  need(DEFERRED, MESSAGES)
  local name, fields = attempted_entry(request, status)
  local answer = settle(name, request.mark, false)
  local deferred = answer == 'gone' and deferred_again(request, status)
  fields = fields or deferred
  if answer ~= 'settled' and not deferred or not fields then return answer end
  -- Other hands may have deferred another message under this id: then this one goes by its entry's.
  if not deferred and redis.call('ZSCORE', DEFERRED, id) then
    id, status = id_after(name), keys[2]
  end
  local kept = without(fields, request.dropped)
  append_all(kept, {'id', id, 'priority', request.priority})
  if request.attempts then append_all(kept, {'attempts', request.attempts}) end
  local due, shown = place_of(request)
  redis.call('ZADD', DEFERRED, due, id)
  redis.call('HSET', MESSAGES, id, cjson.encode(kept))
  if due == NEVER then
    redis.pcall('SADD', keys[3], id)
  else
    append_all(request.look_up, {'due', due})
  end
  record(status, id, 'deferred', request.line, request.detail, request.look_up, shown)
  return 'settled'
end
