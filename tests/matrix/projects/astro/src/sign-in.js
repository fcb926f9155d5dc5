export async function signedIn({ request, cookies, redirect, url }) {
  if (request.method !== 'POST') return undefined
  const form = await request.formData()
  cookies.set('name', String(form.get('name')), { httpOnly: true, path: '/' })
  return redirect(new URL('/who', url).href, 303)
}
