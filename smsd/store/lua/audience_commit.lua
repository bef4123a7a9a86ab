-- audience_commit: let readers see a version that is complete, in place of the one before it.
-- include: audience, damage, full
-- takes: name, version, batch, was?, revision?, record
-- keys: audiences, audiences_unfinished, audience, audience?
-- answers: gone | changed | {how many contacts it has}
-- changes: audiences, audiences_unfinished
--
-- `batch` is the last that was staged. 'changed' where the record is not `was` any more ('' for none; one that cannot be
-- read is replaced without), or the version that was merged (the second one) is not in that `revision` any more.

local function run(request, keys)
  local audiences, unfinished, key, base = unpack(keys)
  need_hash(audiences)
  local version, current = opened(key), redis.call('HGET', audiences, request.name) or ''
  if version_in(current) == request.version then return {version and version.contacts or 0} end -- our reply was lost
  if not version or version.batch ~= request.batch or not is_under_way(unfinished, request.version) then return 'gone' end
  if request.was and request.was ~= current then return 'changed' end
  if base then
    local merged_from = opened(base)
    if not merged_from or merged_from.revision ~= request.revision then return 'changed' end
  end
  allow_writes_while_full() -- it is complete, and makes room for the next
  redis.call('HSET', audiences, request.name, request.record)
  redis.call('ZREM', unfinished, request.version)
  local before = version_in(current)
  if before then redis.call('ZADD', unfinished, 0, before) end
  return {version.contacts}
end
