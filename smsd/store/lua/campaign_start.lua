-- campaign_start: let a campaign be there, whose recipients are complete.
-- include: audience, damage, events
-- takes: version, batch, name, fields, by, fingerprint?, key_ttl?
-- keys: audiences_unfinished, audience, campaign, campaigns, campaign_names, campaigns_active, idempotency?
-- answers: gone | started | exists | conflict | {'repeated', the id of the campaign that was started before}
-- changes: audiences_unfinished, audience, campaign, campaigns, campaign_names, campaigns_active, idempotency, events
--
-- `version` is its id. `fields` are those of its record. 'exists' where another campaign has its name, 'conflict' where
-- another request came with the idempotency key.

-- What an earlier request with this key came to, or nil.
local function first_of(key, request)
  local fingerprint, id = unpack(redis.call('HMGET', key, 'fingerprint', 'campaign'))
  if not fingerprint then return nil end
  if fingerprint ~= request.fingerprint or not id then return 'conflict' end
  return {'repeated', id}
end

local function need_all(keys)
  local _, _, campaign, campaigns, names, active, kept = unpack(keys)
  for _, key in ipairs({campaign, names, kept}) do need_hash(key) end
  need_zset(campaigns)
  need_type(active, 'set')
end

local function run(request, keys)
  local unfinished, key, campaign, campaigns, names, active, kept = unpack(keys)
  need_all(keys)
  if redis.call('EXISTS', campaign) == 1 then return 'started' end -- our reply was lost
  local first = kept and first_of(kept, request)
  if first then return first end
  if redis.call('HEXISTS', names, request.name) == 1 then return 'exists' end
  local version = opened(key)
  if not version or version.batch ~= request.batch or not is_under_way(unfinished, request.version) then return 'gone' end
  redis.call('HSET', campaign, unpack(request.fields))
  redis.call('HDEL', key, 'copied', 'at', 'missing', 'number', 'place', 'new', 'had')
  redis.call('ZADD', campaigns, 0, request.version)
  redis.call('HSET', names, request.name, request.version)
  redis.call('SADD', active, request.version)
  redis.call('ZREM', unfinished, request.version)
  if kept then
    redis.call('HSET', kept, 'fingerprint', request.fingerprint, 'campaign', request.version)
    redis.call('PEXPIRE', kept, request.key_ttl)
  end
  announce_act(request.version, 'started', request.name, request.by)
  return 'started'
end
