-- fsck_contacts: count the contacts of an audience, some buckets at a time; correct the number that it keeps of them.
-- include: audience
-- takes: at, most, counted, revision, repair
-- keys: audience
-- answers: gone | {how many there are in these buckets, the hash value to go on from, -1 at the end, its revision, its number}
-- changes: audience
--
-- Repaired: at the end, where the audience is still in `revision`, its number is `counted` and what is counted now.

local function run(request, keys)
  local version = opened(keys[1])
  if not version then return 'gone' end
  local found, at, buckets = 0, request.at, 0
  while at < RANGE and buckets < request.most do
    local first, span = bounds_of(version, at)
    local size = redis.pcall('HLEN', bucket_from(version, first))
    found, at, buckets = found + (tonumber(size) or 0), first + span, buckets + 1
  end
  if at < RANGE then return {found, at, version.revision, version.contacts} end
  local all = request.counted + found
  if request.repair and request.revision == version.revision and all ~= version.contacts then
    redis.call('HSET', keys[1], 'contacts', all)
  end
  return {found, -1, version.revision, version.contacts}
end
