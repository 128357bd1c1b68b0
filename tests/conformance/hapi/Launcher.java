// HAPI FHIR's RestfulServer with its own in-memory providers: it stores what is put to it, and serves
// it in small pages. Prints its port, and ends with its standard input.

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.model.valueset.BundleTypeEnum;
import ca.uhn.fhir.rest.annotation.IdParam;
import ca.uhn.fhir.rest.annotation.Operation;
import ca.uhn.fhir.rest.annotation.RequiredParam;
import ca.uhn.fhir.rest.annotation.Search;
import ca.uhn.fhir.rest.api.server.IBundleProvider;
import ca.uhn.fhir.rest.param.ReferenceParam;
import ca.uhn.fhir.rest.param.TokenParam;
import ca.uhn.fhir.rest.server.FifoMemoryPagingProvider;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.SimpleBundleProvider;
import ca.uhn.fhir.rest.server.provider.HashMapResourceProvider;
import java.util.ArrayList;
import java.util.List;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.Patient;

public class Launcher {
    static class Observations extends HashMapResourceProvider<Observation> {
        Observations(FhirContext context) {
            super(context, Observation.class);
        }

        @Search
        public List<IBaseResource> byPatient(@RequiredParam(name = "patient") ReferenceParam patient) {
            return of(patient.getIdPart());
        }

        @Search
        public List<IBaseResource> bySubject(@RequiredParam(name = "subject") ReferenceParam subject) {
            return of(subject.getIdPart());
        }

        List<IBaseResource> of(String id) {
            List<IBaseResource> found = new ArrayList<>();
            for (Observation one : getStoredResources()) {
                if (one.getSubject().getReferenceElement().getIdPart().equals(id)) {
                    found.add(one);
                }
            }
            return found;
        }
    }

    static class Patients extends HashMapResourceProvider<Patient> {
        private final Observations observations;

        Patients(FhirContext context, Observations observations) {
            super(context, Patient.class);
            this.observations = observations;
        }

        @Search
        public List<IBaseResource> byIdentifier(@RequiredParam(name = "identifier") TokenParam token) {
            List<IBaseResource> found = new ArrayList<>();
            for (Patient one : getStoredResources()) {
                boolean matches = one.getIdentifier().stream().anyMatch(
                    it -> token.getValue().equals(it.getValue()) && token.getSystem().equals(it.getSystem()));
                if (matches) {
                    found.add(one);
                }
            }
            return found;
        }

        @Operation(name = "$everything", idempotent = true, bundleType = BundleTypeEnum.SEARCHSET)
        public IBundleProvider everything(@IdParam IdType id) {
            List<IBaseResource> found = new ArrayList<>();
            for (Patient one : getStoredResources()) {
                if (one.getIdElement().getIdPart().equals(id.getIdPart())) {
                    found.add(one);
                }
            }
            found.addAll(observations.of(id.getIdPart()));
            return new SimpleBundleProvider(found);
        }
    }

    public static void main(String[] arguments) throws Exception {
        FhirContext context = FhirContext.forR4();
        Observations observations = new Observations(context);
        RestfulServer fhir = new RestfulServer(context);
        fhir.registerProvider(observations);
        fhir.registerProvider(new Patients(context, observations));
        FifoMemoryPagingProvider pages = new FifoMemoryPagingProvider(100);
        pages.setDefaultPageSize(5);
        pages.setMaximumPageSize(7);
        fhir.setPagingProvider(pages);

        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        server.addConnector(connector);
        ServletContextHandler handler = new ServletContextHandler("/");
        handler.addServlet(new ServletHolder(fhir), "/r4/*");
        server.setHandler(handler);
        server.start();
        System.out.println("port " + connector.getLocalPort());
        while (System.in.read() >= 0) {
            // Whoever started it holds the other end.
        }
        server.stop();
        System.exit(0);
    }
}
