-- audience_page: contacts in the order of their hash values, from one on.
-- include: audience, pages
-- takes: at, most
-- keys: audience
-- answers: gone | {the hash value to go on from, -1 at the end, {number, values, ...}}
-- changes: none

local function any() return true end

local function run(request, keys)
  local version = opened(keys[1])
  if not version then return 'gone' end
  return {page_from(version, request.at, request.most, any)}
end
