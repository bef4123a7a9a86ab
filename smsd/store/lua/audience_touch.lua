-- audience_touch: note that an import is still under way, or that it was given up (`abandoned`).
-- include: audience, full
-- takes: version, abandoned
-- keys: audiences_unfinished
-- answers: touched | gone
-- changes: audiences_unfinished

local function run(request, keys)
  local unfinished = keys[1]
  need_zset(unfinished)
  if not redis.call('ZSCORE', unfinished, request.version) then return 'gone' end
  allow_writes_while_full()
  redis.call('ZADD', unfinished, request.abandoned and 0 or NOW, request.version)
  return 'touched'
end
