import { redirect } from '@sveltejs/kit'

export const actions = {
  default: async ({ request, cookies, url }) => {
    const form = await request.formData()
    cookies.set('name', String(form.get('name')), { path: '/' })
    redirect(303, new URL('/who', url))
  },
}
