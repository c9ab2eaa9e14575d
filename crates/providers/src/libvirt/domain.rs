//! A guest's definition as libvirt takes it. Pure text building: every foreign value is escaped.

use super::adapter::Acceleration;
use crate::{Instance, Size};
use uuid::Uuid;

/// The definition of a guest: its UUID is the machine's UID, so defining it again replaces it by itself.
pub(super) fn definition(instance: &Instance, acceleration: Acceleration) -> String {
    let image = &instance.image;
    let boot: String = [
        ("kernel", &image.kernel_path),
        ("initrd", &image.initrd_path),
        ("cmdline", &image.kernel_arguments),
    ]
    .iter()
    .filter_map(|(element, value)| {
        let value = escaped(value.as_ref()?);
        Some(format!("    <{element}>{value}</{element}>\n"))
    })
    .collect();
    let disk = image.disk_path.as_ref().map_or_else(String::new, |path| {
        format!(
            "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2'/>\n      \
             <source file='{}'/>\n      <target dev='vda' bus='virtio'/>\n      <readonly/>\n    </disk>\n",
            escaped(path)
        )
    });
    format!(
        "<domain type='{kind}'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n  \
         <memory unit='KiB'>{memory_kib}</memory>\n  <currentMemory unit='KiB'>{memory_kib}</currentMemory>\n  \
         <vcpu placement='static'>{vcpus}</vcpu>\n  <os>\n    <type arch='x86_64'>hvm</type>\n{boot}  </os>\n  \
         <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>destroy</on_crash>\n  \
         <devices>\n{disk}    <serial type='pty'/>\n    <memballoon model='none'/>\n  </devices>\n</domain>\n",
        kind = acceleration.domain_type(),
        name = escaped(&domain_name(instance)),
        uuid = instance.uid,
        memory_kib = instance.size.memory_mib.saturating_mul(1024),
        vcpus = instance.size.vcpus,
    )
}

/// A guest that ends by itself as soon as it really executes, and whose end makes it disappear.
///
/// A kernel without a root file system gives up and restarts at once; without a kernel the firmware finds nothing to boot
/// and does the same. A restart ends the guest. One that still is there after a while was started and never ran.
pub(super) fn probe(name: &str, kernel_path: Option<&str>, acceleration: Acceleration) -> String {
    let boot = kernel_path.map_or_else(
        || "    <bios rebootTimeout='0'/>\n".to_owned(),
        |path| {
            format!(
                "    <kernel>{}</kernel>\n    <cmdline>panic=-1 quiet</cmdline>\n",
                escaped(path)
            )
        },
    );
    format!(
        "<domain type='{kind}'>\n  <name>{name}</name>\n  <memory unit='MiB'>128</memory>\n  <vcpu>1</vcpu>\n  \
         <os>\n    <type arch='x86_64'>hvm</type>\n{boot}  </os>\n  <on_poweroff>destroy</on_poweroff>\n  \
         <on_reboot>destroy</on_reboot>\n  <on_crash>destroy</on_crash>\n  \
         <devices>\n    <memballoon model='none'/>\n  </devices>\n</domain>\n",
        kind = acceleration.domain_type(),
        name = escaped(name),
    )
}

/// The longest part of a guest's name that is for people: the daemon makes file names of at most 255 bytes from it.
const NAME_LENGTH_MAX: usize = 150;

/// Whether a guest of this name and UUID was defined here: by our way of naming it.
pub(super) fn is_ours(name: &str, uuid: Uuid) -> bool {
    name.ends_with(&format!("-{}", uuid.as_hyphenated()))
}

/// A name for people; the UID in it keeps two machines of the same name apart.
fn domain_name(instance: &Instance) -> String {
    let safe: String = instance
        .name
        .chars()
        .take(NAME_LENGTH_MAX)
        .map(|character| {
            if character.is_ascii_alphanumeric() || "-._".contains(character) {
                character
            } else {
                '-'
            }
        })
        .collect();
    format!("{safe}-{}", instance.uid)
}

/// The same definition with another size; `None` when it is not one that [`definition`] made.
pub(super) fn resized(xml: &str, size: Size) -> Option<String> {
    let memory = size.memory_mib.saturating_mul(1024).to_string();
    let xml = with_content(xml, "memory", &memory)?;
    let xml = with_content(&xml, "currentMemory", &memory)?;
    with_content(&xml, "vcpu", &size.vcpus.to_string())
}

/// Replaces the text of the first element of that name.
fn with_content(xml: &str, element: &str, content: &str) -> Option<String> {
    let opening = xml.find(&format!("<{element} "))?;
    let start = xml.get(opening..)?.find('>')?.checked_add(opening)?.checked_add(1)?;
    let end = xml.get(start..)?.find(&format!("</{element}>"))?.checked_add(start)?;
    Some(format!("{}{content}{}", xml.get(..start)?, xml.get(end..)?))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;

    fn instance() -> Instance {
        Instance {
            uid: "123e4567-e89b-12d3-a456-426614174000".parse().unwrap(),
            name: "tn-a/web".to_owned(),
            host: "h".to_owned(),
            size: Size { vcpus: 2, memory_mib: 128 },
            image: Image {
                kernel_path: Some("/k".to_owned()),
                kernel_arguments: Some("a='1' <b> & \"c\"\n".to_owned()),
                ..Image::default()
            },
        }
    }

    #[test]
    fn foreign_text_cannot_leave_its_element() {
        let xml = definition(&instance(), Acceleration::Emulation);
        assert!(
            xml.contains("<cmdline>a=&apos;1&apos; &lt;b&gt; &amp; &quot;c&quot; </cmdline>"),
            "{xml}"
        );
        assert!(
            xml.contains("<name>tn-a-web-123e4567-e89b-12d3-a456-426614174000</name>"),
            "{xml}"
        );
        assert!(xml.contains("<domain type='qemu'>"), "{xml}");
    }

    #[test]
    fn our_guests_are_known_by_their_name() {
        let long = Instance { name: "n".repeat(400), ..instance() };
        let name = domain_name(&long);
        assert!(name.len() < 200 && is_ours(&name, long.uid.0), "{name}");
        assert!(!is_ours("debian-12", long.uid.0));
        assert!(!is_ours(&name, Uuid::from_u128(1)));
    }

    #[test]
    fn a_resize_changes_the_size_and_nothing_else() {
        let size = Size { vcpus: 4, memory_mib: 256 };
        let before = definition(&instance(), Acceleration::Kvm);
        let after = definition(&Instance { size, ..instance() }, Acceleration::Kvm);
        assert_eq!(resized(&before, size), Some(after));
        assert_eq!(resized("<domain/>", size), None);
    }
}
