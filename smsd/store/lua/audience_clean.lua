-- audience_clean: remove some buckets of a version that no reader sees and that nobody has touched since `before`.
-- include: audience, damage
-- takes: version, before, most
-- keys: audiences, audiences_unfinished, audience, campaign
-- answers: more | done | kept
-- changes: audiences_unfinished, audience, contacts
--
-- `campaign` is that whose recipients the version is, if it is one's.
--
-- From the first step on no import can go on with it. Where other hands have spoiled its state nobody knows which buckets
-- there are: `smsd fsck` finds them.

local function state_left(key)
  if wrong_type(key, 'hash') then return nil end
  local buckets, at = unpack(redis.call('HMGET', key, 'buckets', 'cleaned_to'))
  buckets, at = whole_number(buckets, 1, MOST_BUCKETS), whole_number(at or 0, 0, RANGE)
  return buckets and at and divided(key, {buckets = buckets}), at
end

local function run(request, keys)
  local audiences, unfinished, key, campaign = unpack(keys)
  need_zset(unfinished)
  local touched = redis.call('ZSCORE', unfinished, request.version)
  if not touched then return 'done' end
  if tonumber(touched) > request.before then return 'kept' end
  if is_used(audiences, key, request.version, campaign) then -- only other hands could have listed it
    redis.call('ZREM', unfinished, request.version)
    return 'kept'
  end
  local version, at = state_left(key)
  if version then
    redis.call('HDEL', key, 'contacts')
    for _ = 1, request.most do
      if at >= RANGE then break end
      local first, span = bounds_of(version, at)
      redis.call('UNLINK', bucket_from(version, first))
      at = first + span
    end
    if at < RANGE then
      redis.call('HSET', key, 'cleaned_to', at)
      return 'more'
    end
  end
  redis.call('UNLINK', key)
  redis.call('ZREM', unfinished, request.version)
  return 'done'
end
