-- campaign_remove: forget a campaign that has ended; its recipients are removed later.
-- include: audience, damage, events, full, verbs
-- takes: campaign, name, from, by
-- keys: campaign, campaigns, campaign_names, campaigns_active, campaign_held, audiences_unfinished
-- answers: absent | removed | {'wrong', its state} | {'open', how many of its messages are not settled}
-- changes: campaign, campaigns, campaign_names, campaigns_active, campaign_held, audiences_unfinished, events
--
-- `from`: the states in which it may be.

local OPEN = {'queued', 'held', 'deferred'}

local function need_all(keys)
  local campaign, campaigns, names, active, _, unfinished = unpack(keys)
  for _, key in ipairs({campaign, names}) do need_hash(key) end
  for _, key in ipairs({campaigns, unfinished}) do need_zset(key) end
  need_type(active, 'set')
end

local function run(request, keys)
  local campaign, campaigns, names, active, held, unfinished = unpack(keys)
  need_all(keys)
  local state = redis.call('HGET', campaign, 'state')
  if not state then return 'absent' end
  if not is_among(state, request.from) then return {'wrong', state} end
  local left = count_in(campaign, OPEN)
  if left > 0 then return {'open', left} end
  allow_writes_while_full()
  redis.call('UNLINK', campaign, held)
  redis.call('ZREM', campaigns, request.campaign)
  if redis.call('HGET', names, request.name) == request.campaign then redis.call('HDEL', names, request.name) end
  redis.call('SREM', active, request.campaign)
  redis.call('ZADD', unfinished, 0, request.campaign)
  announce_act(request.campaign, 'removed', request.name, request.by)
  return 'removed'
end
